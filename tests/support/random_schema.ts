import type { Rng } from "../../src/common/rng.ts";
import type { JsonSchema } from "../../src/engine/types.ts";

type Schema = Record<string, unknown>;

const names = ["a", "id", "näme", "x y", 'q"uote', "back\\slash", "tab\t", "0", "😀"];
const patterns = ["^[a-c]{1,3}$", "^\\d+-\\d$", "x", "^(é|ü)+!?$", '^["\\\\/]{2}$'];

/** A schema of small texts that uses every keyword that constraints keep, `depth` levels deep at most. */
export function randomSchema(rng: Rng, depth = 3): JsonSchema {
  const schema = any(rng, depth, false);
  if (rng.integer(4) > 0) return schema;
  // The same through a reference, which may hold itself.
  const list = {
    type: "object",
    properties: { value: schema, next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/list" }] } },
    required: ["value", "next"],
    additionalProperties: false,
  };
  return { $defs: { list }, $ref: "#/$defs/list" };
}

function any(rng: Rng, depth: number, scalar: boolean): Schema {
  const kinds: ((rng: Rng, depth: number) => Schema)[] = [text, text, number, choice, word];
  if (depth > 0 && !scalar) kinds.push(object, object, object, array, array, union, both);
  return kinds[rng.integer(kinds.length)](rng, depth - 1);
}

function text(rng: Rng): Schema {
  const kind = rng.integer(4);
  if (kind === 0) return { type: "string", pattern: pick(rng, patterns), maxLength: 12 };
  if (kind === 1) return { type: "string", format: pick(rng, ["date", "uuid", "ipv4", "time"]) };
  const minLength = rng.integer(3);
  return { type: "string", minLength, maxLength: minLength + rng.integer(6) };
}

function number(rng: Rng): Schema {
  const minimum = rng.integer(200) - 100;
  const width = rng.integer(30);
  const kinds: Schema[] = [
    { type: "integer", minimum, maximum: minimum + width },
    { type: "integer", exclusiveMinimum: minimum, exclusiveMaximum: minimum + width + 2 },
    { type: "integer", multipleOf: 2 + rng.integer(5), minimum: 0, maximum: 1000 },
    { type: "number", minimum: minimum / 4, maximum: minimum / 4 + width / 8 },
    { type: ["integer", "null"], minimum: 3, maximum: 12 },
  ];
  return pick(rng, kinds);
}

function choice(rng: Rng): Schema {
  const values = [1, "one", null, true, 'a "b"', [1, "x"], { k: [false] }, -2.5, "é😀"];
  if (rng.integer(3) === 0) return { const: pick(rng, values) };
  return { enum: Array.from({ length: 1 + rng.integer(4) }, () => pick(rng, values)) };
}

function word(rng: Rng): Schema {
  return { type: pick(rng, ["boolean", "null"]) };
}

function object(rng: Rng, depth: number): Schema {
  const own = names.filter(() => rng.integer(3) === 0);
  const properties = Object.fromEntries(own.map((name) => [name, any(rng, depth, false)]));
  const required = own.filter(() => rng.integer(2) === 0);
  const kind = rng.integer(4);
  if (kind > 1) return { type: "object", properties, required, additionalProperties: false };
  if (kind === 1) {
    return {
      type: "object",
      properties,
      required,
      patternProperties: { "^p[0-9]$": any(rng, 0, true) },
      additionalProperties: false,
    };
  }
  return { type: "object", properties, required, additionalProperties: any(rng, 0, true) };
}

function array(rng: Rng, depth: number): Schema {
  const minItems = rng.integer(3);
  const bounds = { minItems, maxItems: minItems + rng.integer(3) };
  if (rng.integer(3) > 0) return { type: "array", items: any(rng, depth, false), ...bounds };
  return {
    type: "array",
    prefixItems: [any(rng, depth, false), any(rng, depth, true)],
    items: rng.integer(2) === 0 ? false : any(rng, depth, true),
    minItems,
    maxItems: 3,
  };
}

function union(rng: Rng, depth: number): Schema {
  if (rng.integer(2) === 0) {
    return { anyOf: [any(rng, depth, false), any(rng, depth, false), word(rng)] };
  }
  const variant = (kind: string) => ({
    type: "object",
    properties: { kind: { const: kind }, value: any(rng, depth, true) },
    required: ["kind", "value"],
    additionalProperties: false,
  });
  return { oneOf: [variant("a"), variant("b")] };
}

function both(rng: Rng): Schema {
  return { allOf: [{ type: "string", maxLength: 5 }, { minLength: 2 + rng.integer(3) }] };
}

function pick<T>(rng: Rng, values: readonly T[]): T {
  return values[rng.integer(values.length)];
}
