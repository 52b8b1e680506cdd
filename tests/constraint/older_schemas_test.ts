import { assertEquals, assertThrows } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import { readJsonSchema } from "../../src/constraint/read_json_schema.ts";

const string = { type: "string" };

Deno.test("readJsonSchema reads draft 7's tuples", () => {
  const cases: [unknown, unknown][] = [
    [{ type: "array", items: [string, true] }, { type: "array", prefixItems: [string, true] }],
    [
      { items: [{ items: [string], minItems: 1 }], additionalItems: false },
      { prefixItems: [{ prefixItems: [string], minItems: 1 }], items: false },
    ],
    [
      { items: [{}], additionalItems: { items: [string] } },
      { prefixItems: [{}], items: { prefixItems: [string] } },
    ],
    [{ items: [], additionalItems: string, maxItems: 2 }, { items: string, maxItems: 2 }],
    [{ items: [] }, {}],
    // Names and values are no keywords.
    [
      { properties: { items: { const: { items: [1], nullable: true, type: "a" } } } },
      { properties: { items: { const: { items: [1], nullable: true, type: "a" } } } },
    ],
  ];
  for (const [schema, expected] of cases) assertEquals(readJsonSchema(schema), expected);
});

Deno.test("readJsonSchema follows references into and out of draft 7's tuples", () => {
  const read = readJsonSchema({
    type: "array",
    items: [string, { $ref: "#/items/0" }, { $ref: "#/additionalItems" }],
    additionalItems: { type: "integer" },
  }) as Record<string, Record<string, unknown>>;
  const [, first, rest] = read.prefixItems as unknown as { $ref: string }[];
  const target = ({ $ref }: { $ref: string }) => read.$defs[$ref.split("/").at(-1)!];
  assertEquals([target(first), target(rest)], [string, { type: "integer" }]);
  assertThrows(
    () => readJsonSchema({ items: [string, { $ref: "#/items/2" }] }),
    ConstraintError,
    "#/prefixItems/1/$ref is",
  );
});

Deno.test("readJsonSchema adds null to a type where OpenAPI's nullable says so", () => {
  const cases: [unknown, unknown][] = [
    [{ type: "string", nullable: true, maxLength: 3 }, { type: ["string", "null"], maxLength: 3 }],
    [{ type: ["integer", "null"], nullable: true }, { type: ["integer", "null"] }],
    [{ type: "string", enum: ["a"], nullable: true }, { type: ["string", "null"], enum: ["a"] }],
    [{ items: { type: "string", nullable: true } }, { items: { type: ["string", "null"] } }],
  ];
  for (const [schema, expected] of cases) assertEquals(readJsonSchema(schema), expected);
  // Both allow null, so that one of them is not the same as any of them.
  const $defs = { name: { type: "string", nullable: true } };
  const read = readJsonSchema({ oneOf: [{ $ref: "#/$defs/name" }, { type: "null" }], $defs });
  assertEquals(Object.keys(read as object), ["oneOf", "$defs"]);
});
