import { schemaKeywords } from "./json_schema_keywords.ts";
import { NotKept } from "./not_kept.ts";

type Schema = Readonly<Record<string, unknown>>;

/** How to follow references, and how many more characters may be written where a schema is spelt out: a stranger's may multiply by thousands. */
export interface Room {
  resolve: (reference: string) => unknown;
  left: number;
}

/** References followed for one schema at most, so that none is followed for ever. */
const MOST_STEPS = 16;

/**
 * `schema` with the same meaning and without `propertyNames` and `uniqueItems`, which the automaton does not keep: names become properties or a pattern of
 * them, arrays of a few different values become all such arrays. Where that cannot be, the keyword stays.
 * @param path of the schema, for errors
 * @throws {NotKept} where there is no room for it.
 */
export function speltOut(schema: Schema, path: string, room: Room): Schema {
  if (!("propertyNames" in schema || "uniqueItems" in schema)) return schema;
  return withoutUniqueItems(withoutPropertyNames(schema, path, room), path, room);
}

function withoutPropertyNames(schema: Schema, path: string, room: Room): Schema {
  const { propertyNames, ...rest } = schema;
  const names = bare(propertyNames, room);
  if (names === undefined) return schema;
  const { type = "string", minLength = 0, maxLength = "", ...kept } = names;
  if (type !== "string") return schema;
  const values = valuesOf(kept);
  const { properties = {}, patternProperties = {}, additionalProperties = true, required } = rest;
  if (!isRecord(properties) || !isRecord(patternProperties)) return schema;
  if (Object.keys(patternProperties).length > 0) return schema;
  const sized = "minLength" in names || "maxLength" in names;
  if (values && !sized) {
    const own: Record<string, unknown> = {};
    const taken = new Set(values.filter((value) => typeof value === "string"));
    for (const name of new Set([...Object.keys(properties), ...taken])) {
      if (!taken.has(name)) continue;
      const value = Object.hasOwn(properties, name)
        ? properties[name]
        : copied([name, additionalProperties], "propertyNames", path, room)[1];
      Object.defineProperty(own, name, { enumerable: true, value });
    }
    return { ...rest, properties: own, additionalProperties: false };
  }
  const some = Object.keys(properties).length > 0 || Array.isArray(required) && required.length > 0;
  const [only] = Object.keys(kept);
  if (Object.keys(kept).length === 0 && !sized) return rest;
  if (some) return schema;
  if (only === undefined) {
    const lengths = [minLength, maxLength];
    if (!lengths.every((length) => length === "" || isCount(length))) return schema;
    const pattern = `^[\\s\\S]{${minLength},${maxLength}}$`;
    return {
      ...rest,
      patternProperties: { [pattern]: additionalProperties },
      additionalProperties: false,
    };
  }
  if (only !== "pattern" || Object.keys(kept).length > 1 || sized) return schema;
  return {
    ...rest,
    patternProperties: { [String(kept.pattern)]: additionalProperties },
    additionalProperties: false,
  };
}

function withoutUniqueItems(schema: Schema, path: string, room: Room): Schema {
  const { uniqueItems, type, items, minItems = 0, maxItems = Infinity, ...others } = schema;
  if (uniqueItems !== true || type !== "array") return schema;
  if (Object.keys(others).some((keyword) => schemaKeywords.get(keyword) !== "annotation")) {
    return schema;
  }
  const values = valuesOf(bare(items, room) ?? {});
  if (!values?.every(isScalar)) return schema;
  if (!isCount(minItems) || !(maxItems === Infinity || isCount(maxItems))) return schema;
  const arrays: unknown[][] = [];
  let grown: unknown[][] = [[]];
  for (let length = 0; grown.length > 0 && length <= Number(maxItems); length++) {
    if (length >= Number(minItems)) arrays.push(...grown);
    grown = grown.flatMap((array) =>
      values.filter((value) => !array.includes(value)).map((value) =>
        copied([...array, value], "uniqueItems", path, room)
      )
    );
  }
  return arrays.length === 0 ? schema : { enum: arrays };
}

/** `value`, once its characters are taken off what there is room for. */
function copied<T>(value: T, keyword: string, path: string, room: Room): T {
  room.left -= JSON.stringify(value).length;
  if (room.left >= 0) return value;
  throw new NotKept(
    `JSON schema: keyword "${keyword}" at ${path} allows more than can be written out`,
  );
}

/** What a schema says, references followed and annotations left out; undefined: that is not seen. */
function bare(schema: unknown, { resolve }: Room): Schema | undefined {
  let at = schema;
  for (let step = 0; step < MOST_STEPS && isRecord(at); step++) {
    const own = Object.entries(at).filter(([name]) => schemaKeywords.get(name) !== "annotation");
    const said: Schema = Object.fromEntries(own);
    if (!("$ref" in said)) return said;
    if (own.length > 1 || typeof said.$ref !== "string") return undefined;
    at = resolve(said.$ref);
  }
  return undefined;
}

/** The values that are all that a schema allows, each once; undefined: it says other things. */
function valuesOf({ type, ...schema }: Schema): unknown[] | undefined {
  if (Object.keys(schema).length !== 1) return undefined;
  const values: unknown = "const" in schema ? [schema.const] : schema.enum;
  if (!Array.isArray(values)) return undefined;
  if (type === undefined) return [...new Set(values)];
  return type === "string" && values.every((value) => typeof value === "string")
    ? [...new Set(values)]
    : undefined;
}

function isScalar(value: unknown): boolean {
  return typeof value !== "object" || value === null;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
