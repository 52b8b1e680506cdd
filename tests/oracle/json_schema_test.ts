import { assertEquals } from "@std/assert";
import { isJsonPrefix } from "./json_prefix.ts";
import { conforms } from "./json_schema.ts";

Deno.test("conforms agrees with cases worked out by hand", () => {
  const tree = {
    $defs: { node: { type: "object", properties: { next: { $ref: "#/$defs/node" } } } },
    $ref: "#/$defs/node",
  };
  const open = {
    properties: { a: { type: "integer" } },
    patternProperties: { "^x": { type: "null" } },
    additionalProperties: { type: "string" },
    required: ["a"],
  };
  // deno-lint-ignore no-explicit-any -- schemas of any shape
  const cases: [any, unknown, boolean][] = [
    [{ type: "integer" }, 3, true],
    [{ type: "integer" }, 3.5, false],
    [{ type: ["string", "null"] }, null, true],
    [{ type: "object" }, [], false],
    [{ enum: [1, [2, { a: null }]] }, [2, { a: null }], true],
    [{ enum: [1, [2, { a: null }]] }, [2, { b: null }], false],
    [{ const: "1" }, 1, false],
    [{ minLength: 2, maxLength: 2 }, "😀é", true],
    [{ maxLength: 1 }, "ab", false],
    [{ pattern: "^a+$" }, "aab", false],
    [{ minimum: 0, exclusiveMaximum: 2 }, 2, false],
    [{ exclusiveMinimum: 0, maximum: 2 }, 2, true],
    [{ multipleOf: 3 }, 10, false],
    [{ minItems: 1, items: { type: "boolean" } }, [true, 1], false],
    [{ prefixItems: [{ type: "null" }], items: { type: "string" } }, [null, "a"], true],
    [{ prefixItems: [{ type: "null" }], items: { type: "string" } }, ["a"], false],
    [open, { a: 1, b: "c", x1: null }, true],
    [open, { b: "c" }, false],
    [open, { a: 1, b: 2 }, false],
    [open, { a: 1, x1: "no" }, false],
    [{ anyOf: [{ type: "string" }, { minimum: 5 }] }, 4, false],
    [{ oneOf: [{ type: "integer" }, { minimum: 5 }] }, 6, false],
    [{ oneOf: [{ type: "integer" }, { minimum: 5 }] }, 5.5, true],
    [{ allOf: [{ minimum: 1 }, { maximum: 3 }] }, 4, false],
    [tree, { next: { next: {} } }, true],
    [tree, { next: { next: 1 } }, false],
  ];
  for (const [schema, value, expected] of cases) {
    assertEquals(conforms(schema, value), expected, JSON.stringify([schema, value]));
  }
});

Deno.test("isJsonPrefix holds for the beginnings of a text and not for what goes wrong", () => {
  const text = ' {"a\\u00e9\\n" : [ -1.5e+10, 0, true,null,{}], "b":[[]] }\n';
  for (let end = 0; end <= text.length; end++) {
    assertEquals(isJsonPrefix(text.slice(0, end)), true, text.slice(0, end));
  }
  for (
    const bad of [
      "{a",
      "[1,]",
      "01",
      "tru3",
      '"\\x',
      '"\\u12g',
      "{}}",
      '{"a" 1',
      "-a",
      "1.e",
      '"\n',
      "[1 2",
    ]
  ) {
    assertEquals(isJsonPrefix(bad), false, bad);
  }
});
