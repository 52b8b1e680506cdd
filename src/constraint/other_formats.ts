import { schemaFormats } from "./json_schema_keywords.ts";

type Range = readonly [least: number, most: number];

const most = Number.MAX_SAFE_INTEGER;

/** Integers of `bits` bits that JavaScript holds exactly: those of 64 bits within a narrower range than their own, which keeps theirs too. */
function integers(bits: number): [name: string, range: Range][] {
  const signed = Math.min(2 ** (bits - 1) - 1, most);
  return [
    [`int${bits}`, [bits < 64 ? -signed - 1 : -most, signed]],
    [`uint${bits}`, [0, Math.min(2 ** bits - 1, most)]],
  ];
}

/** What formats of numbers allow, by OpenAPI's registry and Rust's schemars; null: any number, to the precision that its reader has. */
const ranges: ReadonlyMap<unknown, Range | null> = new Map<unknown, Range | null>([
  ...[8, 16, 32, 64].flatMap(integers),
  ["int", [-most, most]],
  ["uint", [0, most]],
  ["float", null],
  ["double", null],
]);

const numeric = new Set<unknown>(["integer", "number", "null"]);

/**
 * `schema` without a `format` that its other keywords can say: one of numbers, where its `type` allows nothing else but null, is a range; a name
 * of its generator's own beside a `pattern` (Zod's `starts_with`, `ulid` and others), or several in `allOf`, says what that says. The same schema where
 * it has neither.
 */
export function withoutOtherFormat(schema: Record<string, unknown>): Record<string, unknown> {
  const { format, ...rest } = schema;
  if (typeof format !== "string" || schemaFormats.has(format)) return schema;
  if (hasPattern(rest)) return rest;
  const range = ranges.get(format);
  const types = [schema.type].flat();
  if (range === undefined || !types.every((type) => numeric.has(type))) return schema;
  if (range === null) return rest;
  const { minimum = range[0], maximum = range[1] } = rest;
  return {
    ...rest,
    minimum: typeof minimum === "number" ? Math.max(minimum, range[0]) : minimum,
    maximum: typeof maximum === "number" ? Math.min(maximum, range[1]) : maximum,
  };
}

function hasPattern({ pattern, allOf }: Record<string, unknown>): boolean {
  if (typeof pattern === "string") return true;
  return Array.isArray(allOf) && allOf.some((one) => typeof Object(one).pattern === "string");
}
