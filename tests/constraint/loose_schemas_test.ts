import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import type { ConstraintCompiler } from "../../src/constraint/constraint_compiler.ts";
import { readJsonSchema } from "../../src/constraint/read_json_schema.ts";
import type { TextConstraint } from "../../src/constraint/text_constraint.ts";
import type { ToolCallConstraint } from "../../src/constraint/tool_call_constraint.ts";
import { needsNative } from "../support/needs_native.ts";
import { withCompiler } from "../support/with_compiler.ts";

/** Every byte, and a control token that ends a text. */
const words = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
words.push(new Uint8Array(0));
const END = words.length - 1;

/** Whether `text` is a whole one under a constraint. */
async function takes(
  compiler: ConstraintCompiler,
  constraint: TextConstraint | ToolCallConstraint,
  text: string,
): Promise<boolean> {
  using begun = await compiler.start(constraint);
  const mask = new Uint32Array(Math.ceil(words.length / 32));
  const may = (id: number) => (begun.mask(mask), (mask[id >> 5] >>> (id & 31) & 1) === 1);
  for (const byte of new TextEncoder().encode(text)) {
    if (!may(byte)) return false;
    if (begun.accept(byte)) return true;
  }
  return may(END);
}

const string = { type: "string" };

Deno.test("readJsonSchema leaves out what is not kept where most is enough, and nothing else", () => {
  const $defs = { a: string };
  const cases: [schema: unknown, read: unknown][] = [
    [{ type: "array", uniqueItems: true, items: string }, { type: "array", items: string }],
    [{ minProperties: 1, maxProperties: 2, not: {}, if: {}, then: {}, type: "object" }, {
      type: "object",
    }],
    [{ properties: { a: { contains: {}, minItems: 2 } }, "x-order": 1 }, {
      properties: { a: { minItems: 2 } },
    }],
    [{ type: "string", pattern: "(?=a)b", maxLength: 3 }, { type: "string", maxLength: 3 }],
    [{ type: "string", format: "iri" }, string],
    [{ type: "integer", minimum: 0, maximum: 2 ** 64 }, { type: "integer", minimum: 0 }],
    [{ enum: [2 ** 60] }, {}],
    [{ $ref: "https://example.com/a.json", title: "A" }, {}],
    [{ $ref: "#/$defs/b", $defs }, { $defs }],
    [{ $ref: "#/$defs/a", $defs }, { $ref: "#/$defs/a", $defs }],
    // Whatever is left out of one of its schemas, a value that is of it alone is one of this.
    [{ oneOf: [{ type: "integer" }, { type: "number", not: {} }] }, {
      anyOf: [{ type: "integer" }, { type: "number" }],
    }],
    [{ anyOf: [string], oneOf: [string, true], allOf: [true] }, {
      anyOf: [string],
      allOf: [true, { anyOf: [string, true] }],
    }],
    [{ propertyNames: { format: "uuid" }, additionalProperties: string }, {
      additionalProperties: string,
    }],
  ];
  for (const [schema, read] of cases) assertEquals(readJsonSchema(schema, "most"), read);

  // What no schema may say.
  for (
    const [schema, words] of [
      [{ minItems: "3" }, "#/minItems"],
      [{ not: {}, properties: { a: 1 } }, "#/properties/a"],
      [{ type: "text" }, "#/type"],
      [{ pattern: 1 }, "#/pattern"],
      [{ $ref: 1 }, "#/$ref"],
    ] as const
  ) assertThrows(() => readJsonSchema(schema, "most"), ConstraintError, words);
});

Deno.test("readJsonSchema leaves patterns out of a shape, and with those of names what holds for other names", () => {
  const schema = {
    type: "object",
    properties: { a: { type: "string", pattern: "a\\b", format: "date", minLength: 1 } },
    patternProperties: { "^(?!x)": string },
    additionalProperties: false,
    required: ["a"],
  };
  assertEquals(readJsonSchema(schema, "shape"), {
    type: "object",
    properties: { a: { type: "string", minLength: 1 } },
    required: ["a"],
  });
  assertEquals(readJsonSchema(schema, "type"), { type: "object" });
  assertEquals(readJsonSchema(true, "type"), true);
});

Deno.test("ConstraintCompiler: of a loose schema that its compiler refuses, the shape is kept", async (t) => {
  if (!needsNative(t)) return;
  const schema = {
    type: "object",
    properties: { word: { type: "string", pattern: "a\\b" }, tags: { uniqueItems: true } },
    required: ["word"],
    additionalProperties: false,
  };
  await withCompiler(words, async (compiler) => {
    const loose = { kind: "json_schema", schema, loose: true } as const;
    assertEquals(await takes(compiler, loose, '{"word":"b","tags":[1,1]}'), true);
    assertEquals(await takes(compiler, loose, '{"tags":[1,1]}'), false);
    const { tags: _, ...properties } = schema.properties;
    const strict = { kind: "json_schema", schema: { ...schema, properties } } as const;
    await assertRejects(async () => await compiler.start(strict), ConstraintError, "lookarounds");
    // What no text can be of is of no use to who asked for it.
    const none = { ...schema, properties: { word: { allOf: [string, { type: "null" }] } } };
    const refused = { kind: "json_schema", schema: none, loose: true } as const;
    await assertRejects(
      async () => await compiler.start(refused),
      ConstraintError,
      "unsatisfiable",
    );
  });
});

Deno.test("ConstraintCompiler: a loose tool of which nothing can be called does not keep others from being called", async (t) => {
  if (!needsNative(t)) return;
  const none = {
    type: "object",
    properties: { a: { allOf: [string, { type: "null" }] } },
    required: ["a"],
  };
  const set = { type: "object", properties: { a: { type: "array", uniqueItems: true } } };
  const constraint: ToolCallConstraint = {
    kind: "tool_calls",
    form: "llama",
    tools: [{ name: "none", parameters: none, loose: true }, { name: "set", parameters: set }],
    choice: "required",
    parallel: false,
  };
  await withCompiler(words, async (compiler) => {
    assertThrows(() => compiler.start(constraint), ConstraintError, '"uniqueItems"');
    const loose = {
      ...constraint,
      tools: constraint.tools.map((tool) => ({ ...tool, loose: true })),
    };
    const call = (name: string, text: string) => `{"name": "${name}", "parameters": ${text}}`;
    assertEquals(await takes(compiler, loose, call("set", '{"a": [1, 1]}')), true);
    assertEquals(await takes(compiler, loose, call("none", '{"a": null}')), true);
    assertEquals(await takes(compiler, loose, call("none", "[]")), false);
  });
});
