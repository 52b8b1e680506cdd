/** A JSON schema, as far as these tests write them. */
// deno-lint-ignore no-explicit-any -- schemas of any shape
type Schema = boolean | Record<string, any>;

/** Whether `value` conforms to `schema`, by the definition of each keyword (JSON Schema 2020-12, validation). */
export function conforms(schema: Schema, value: unknown, root: Schema = schema): boolean {
  if (typeof schema === "boolean") return schema;
  const fits = (sub: Schema, part: unknown) => conforms(sub, part, root);
  if (schema.$ref !== undefined && !fits(find(schema.$ref, root), value)) return false;
  if (schema.type !== undefined && ![schema.type].flat().some((type) => isOf(type, value))) {
    return false;
  }
  if (schema.const !== undefined && !same(schema.const, value)) return false;
  if (schema.enum && !schema.enum.some((one: unknown) => same(one, value))) return false;
  if (schema.anyOf && !schema.anyOf.some((sub: Schema) => fits(sub, value))) return false;
  if (schema.allOf && !schema.allOf.every((sub: Schema) => fits(sub, value))) return false;
  if (schema.oneOf && schema.oneOf.filter((sub: Schema) => fits(sub, value)).length !== 1) {
    return false;
  }
  if (typeof value === "string") {
    const length = [...value].length;
    if (length < (schema.minLength ?? 0) || length > (schema.maxLength ?? Infinity)) return false;
    if (schema.pattern && !new RegExp(schema.pattern, "u").test(value)) return false;
  }
  if (typeof value === "number") {
    if (value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity)) return false;
    if (value <= (schema.exclusiveMinimum ?? NaN) || value >= (schema.exclusiveMaximum ?? NaN)) {
      return false;
    }
    if (schema.multipleOf && value % schema.multipleOf !== 0) return false;
  }
  if (Array.isArray(value)) {
    if (value.length < (schema.minItems ?? 0) || value.length > (schema.maxItems ?? Infinity)) {
      return false;
    }
    if (schema.uniqueItems && value.some((one, i) => value.slice(0, i).some((x) => same(x, one)))) {
      return false;
    }
    const first: Schema[] = schema.prefixItems ?? [];
    return value.every((item, i) => fits(first[i] ?? schema.items ?? true, item));
  }
  if (isOf("object", value)) {
    const object = value as Record<string, unknown>;
    const named: Record<string, Schema> = schema.properties ?? {};
    const byPattern = Object.entries<Schema>(schema.patternProperties ?? {});
    if (schema.required?.some((name: string) => !Object.hasOwn(object, name))) return false;
    return Object.entries(object).every(([name, part]) => {
      if (!fits(schema.propertyNames ?? true, name)) return false;
      const matching = byPattern.filter(([pattern]) => new RegExp(pattern, "u").test(name));
      const own = Object.hasOwn(named, name) ? [named[name]] : [];
      const schemas = [...own, ...matching.map(([, sub]) => sub)];
      if (schemas.length === 0) schemas.push(schema.additionalProperties ?? true);
      return schemas.every((sub) => fits(sub, part));
    });
  }
  return true;
}

function isOf(type: string, value: unknown): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    default: {
      const own: string = typeof value;
      return own === type;
    }
  }
}

function find(reference: string, root: Schema): Schema {
  const path = reference.split("/").slice(1);
  // deno-lint-ignore no-explicit-any -- any part of a schema
  return path.reduce((at: any, name) => at[name], root);
}

function same(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const keys = Object.keys(a);
  return Array.isArray(a) === Array.isArray(b) && keys.length === Object.keys(b).length &&
    keys.every((key) =>
      Object.hasOwn(b, key) &&
      same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key])
    );
}
