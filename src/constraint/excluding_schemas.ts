/** A schema, perhaps not yet checked. */
type Schema = Readonly<Record<string, unknown>>;

/** How to follow references, and how many more pairs may be compared: a stranger's schema may have millions. */
export interface Look {
  resolve: (reference: string) => unknown;
  left: number;
}

/** References followed for one schema at most, so that none is followed for ever. */
const MOST_STEPS = 16;
/** Properties within properties that are looked at, for the same reason. */
const MOST_LEVELS = 2;

/**
 * Whether no value conforms to two of `schemas`, as far as that is easily seen: their types have nothing in common, or objects have a
 * property that all require and that is another constant in each, which is how unions of records are told apart. `oneOf` means the same as
 * `anyOf` then.
 */
export function excludeEachOther(
  schemas: readonly unknown[],
  look: Look,
): boolean {
  const parts = schemas.map((schema) => follow(schema, look));
  return parts.every((a, i) => parts.slice(i + 1).every((b) => exclude(a, b, look, 0)));
}

function exclude(
  a: Schema | undefined,
  b: Schema | undefined,
  look: Look,
  level: number,
): boolean {
  if (!a || !b || look.left-- <= 0) return false;
  const [types, others] = [typesOf(a), typesOf(b)];
  if (types && others && !types.some((type) => others.includes(type))) return true;
  const [values, rest] = [valuesOf(a), valuesOf(b)];
  if (values && rest && !values.some((value) => rest.includes(value))) return true;
  if (level === MOST_LEVELS) return false;
  // What is no object is not held to have a property.
  if (types?.join() !== "object" && others?.join() !== "object") return false;
  const required = requiredBy(a);
  return requiredBy(b).some((name) =>
    required.includes(name) &&
    exclude(property(a, name, look), property(b, name, look), look, level + 1)
  );
}

/** Types of JSON that a schema allows; undefined: it does not say. Integers are numbers. */
function typesOf({ type }: Schema): unknown[] | undefined {
  if (type === undefined) return undefined;
  return [type].flat().map((one) => one === "integer" ? "number" : one);
}

/** Strings and the like that are all that a schema allows, as JSON; undefined: there are others. */
function valuesOf(schema: Schema): string[] | undefined {
  const values: unknown = "const" in schema ? [schema.const] : schema.enum;
  if (
    !Array.isArray(values) ||
    !values.every((value) => typeof value === "string" || typeof value === "boolean")
  ) {
    return undefined;
  }
  return values.map((value) => JSON.stringify(value));
}

function requiredBy({ required }: Schema): unknown[] {
  return Array.isArray(required) ? required : [];
}

function property(
  schema: Schema,
  name: unknown,
  look: Look,
): Schema | undefined {
  const properties = Object(schema.properties);
  return typeof name === "string" && Object.hasOwn(properties, name)
    ? follow(properties[name], look)
    : undefined;
}

/** What `schema` refers to in the end, if it is nothing but a reference. */
function follow(
  schema: unknown,
  look: Look,
): Schema | undefined {
  let at = schema;
  for (let step = 0; step < MOST_STEPS; step++) {
    if (typeof at !== "object" || at === null) return undefined;
    const { $ref } = at as Schema;
    if ($ref === undefined) return at as Schema;
    // Keywords beside a reference only narrow what it allows.
    at = typeof $ref === "string" ? look.resolve($ref) : undefined;
  }
  return undefined;
}
