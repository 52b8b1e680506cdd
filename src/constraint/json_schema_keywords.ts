/** What the value of a keyword has to be. */
export type KeywordValue =
  | "schema"
  | "schemas"
  | "schema by name"
  | "any"
  | "values"
  | "names"
  | "type"
  | "count"
  | "number"
  | "positive number"
  | "pattern"
  | "format"
  | "reference"
  | "annotation";

/**
 * The keywords that a schema may use. All that are not here are refused: a text that ignores one could break the schema. Missing on
 * purpose: `uniqueItems`, `not`, `if`, `contains`, `dependent…`, `unevaluated…`, which no automaton of ours keeps (`uniqueItems` and
 * `propertyNames` where `speltOut` leaves them), and `minProperties`, `maxProperties`, since a text may name a property twice.
 */
export const schemaKeywords: ReadonlyMap<string, KeywordValue> = new Map<string, KeywordValue>([
  ["type", "type"],
  ["const", "any"],
  ["enum", "values"],
  ["anyOf", "schemas"],
  ["oneOf", "schemas"],
  ["allOf", "schemas"],
  ["$ref", "reference"],
  ["$defs", "schema by name"],
  ["definitions", "schema by name"],
  ["properties", "schema by name"],
  ["patternProperties", "schema by name"],
  ["additionalProperties", "schema"],
  ["required", "names"],
  ["items", "schema"],
  ["prefixItems", "schemas"],
  ["minItems", "count"],
  ["maxItems", "count"],
  ["minLength", "count"],
  ["maxLength", "count"],
  ["pattern", "pattern"],
  ["format", "format"],
  ["minimum", "number"],
  ["maximum", "number"],
  ["exclusiveMinimum", "number"],
  ["exclusiveMaximum", "number"],
  ["multipleOf", "positive number"],
  ...[
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    // OpenAPI's, of one.
    "example",
    "deprecated",
    // OpenAPI's hint which of `oneOf` it is: says nothing that those do not.
    "discriminator",
    "readOnly",
    "writeOnly",
    "contentMediaType",
    "contentEncoding",
  ].map((name) => [name, "annotation"] as [string, KeywordValue]),
]);

/** Types that `type` may name. */
export const schemaTypes: ReadonlySet<unknown> = new Set([
  "null",
  "boolean",
  "integer",
  "number",
  "string",
  "array",
  "object",
]);

/** Formats of strings that are kept. */
export const schemaFormats: ReadonlySet<unknown> = new Set([
  "date-time",
  "time",
  "date",
  "duration",
  "email",
  "hostname",
  "ipv4",
  "ipv6",
  "uuid",
  "uri",
]);

/** Values of other keywords that say nothing, as JSON: generators of schemas write them. */
export const neutralValues: ReadonlyMap<string, readonly string[]> = new Map([
  ["uniqueItems", ["false"]],
  ["nullable", ["false"]],
  // Any string is one, to OpenAPI and to Pydantic.
  ["format", ['"password"', '"binary"', '"path"']],
  ["minProperties", ["0"]],
  ["propertyNames", ["true"]],
]);
