import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import { toolMarks } from "../../src/common/tools.ts";
import type { ConstrainedText } from "../../src/constraint/constrained_text.ts";
import type { ConstraintCompiler } from "../../src/constraint/constraint_compiler.ts";
import type { ToolCallConstraint } from "../../src/constraint/tool_call_constraint.ts";
import { toolGrammar } from "../../src/constraint/tool_grammar.ts";
import { conforms } from "../oracle/json_schema.ts";
import { needsNative } from "../support/needs_native.ts";
import { withCompiler } from "../support/with_compiler.ts";

const encoder = new TextEncoder();
/** Every byte, tokens that cross the edges of calls, and one that ends a text. */
const words = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...["<tool_call>", "l>\n{", '"}}\n</tool_call>', "}}]", "[TOOL_CALLS]", "<|python_tag|>", "it"]
    .map((word) => encoder.encode(word)),
  new Uint8Array(0),
];
const END = words.length - 1;

const city = {
  type: "object",
  properties: {
    city: { type: "string", pattern: "^[a-z<]{1,3}$" },
    unit: { enum: ["C", "F", "}\n</tool_call>"] },
    days: { type: "integer", minimum: 1, maximum: 12 },
  },
  required: ["city", "unit"],
  additionalProperties: false,
};
const tree = {
  $ref: "#/$defs/tree",
  $defs: {
    tree: {
      type: "object",
      properties: { left: { $ref: "#/$defs/tree" }, "<|end|>": { type: "boolean" } },
      additionalProperties: false,
    },
  },
};
const tools = [
  { name: "get_weather", parameters: city },
  { name: "get", parameters: tree },
  { name: "none" },
];
const schemas: Record<string, Record<string, unknown>> = {
  get_weather: city,
  get: tree,
  none: { type: "object", additionalProperties: false },
};
const constraintOf = (extra: Partial<ToolCallConstraint> = {}): ToolCallConstraint => ({
  kind: "tool_calls",
  form: "hermes",
  tools,
  choice: "required",
  parallel: true,
  ...extra,
});

const compiler = (use: (compiler: ConstraintCompiler) => Promise<void>) => withCompiler(words, use);

function allowed(text: ConstrainedText): number[] {
  const mask = new Uint32Array(Math.ceil(words.length / 32));
  text.mask(mask);
  return words.flatMap((_, id) => mask[id >> 5] >>> (id & 31) & 1 ? [id] : []);
}

/** A random walk from after `begin` to a whole text; undefined where none was reached. */
function walk(text: ConstrainedText, begin: string, rng: Rng): string | undefined {
  const bytes = [...encoder.encode(begin)];
  for (const byte of bytes) {
    assert(allowed(text).includes(byte), `${begin} is refused`);
    text.accept(byte);
  }
  for (let i = 0; i < 600; i++) {
    const ids = allowed(text);
    assert(ids.length > 0 && !text.failure, "nothing may follow");
    const id = ids.includes(END) && rng.integer(2) ? END : ids[rng.integer(ids.length)];
    const done = id === END || (bytes.push(...words[id]), text.accept(id));
    if (done) return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
  }
  return undefined;
}

/** The calls of a text, read in the plainest way. */
function callsOf(form: ToolCallConstraint["form"], text: string): unknown[] {
  if (form === "llama") return [JSON.parse(text.replace("<|python_tag|>", ""))];
  if (form === "mistral") return JSON.parse(text.slice(text.indexOf("[TOOL_CALLS]") + 12));
  // The closing mark may stand in a string, after a backslash and an n, but not after a line break.
  return text.slice(text.indexOf("<tool_call>")).split("\n</tool_call>").slice(0, -1)
    .map((part) => JSON.parse(part.replace(/^\n?<tool_call>\n/, "")));
}

Deno.test("toolGrammar: random walks are calls whose arguments conform, in every form", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const rng = new Rng(11);
    for (const form of ["hermes", "mistral", "llama"] as const) {
      const counts = new Map<string, number>();
      let whole = 0, several = 0;
      for (const choice of ["required", "auto"] as const) {
        for (let n = 0; n < 60; n++) {
          const begin = choice === "required"
            ? ""
            : form === "llama"
            ? ["", "<|python_tag|>"][n % 2] + '{"name": "'
            : `Hm {"name": "\n${toolMarks[form][0]}`;
          using text = await compiler.start(constraintOf({ form, choice }));
          const said = walk(text, begin, rng);
          if (said === undefined) continue;
          whole++;
          const calls = callsOf(form, said) as Record<string, unknown>[];
          assert(calls.length >= 1 && calls.length <= 16, said);
          several += Number(calls.length > 1);
          for (const { name, ...rest } of calls) {
            const key = form === "llama" ? "parameters" : "arguments";
            assertEquals(Object.keys(rest), [key]);
            assert(conforms(schemas[String(name)], rest[key]), said);
            counts.set(String(name), (counts.get(String(name)) ?? 0) + 1);
          }
        }
      }
      assert(whole >= 60, `${form}: ${whole} of 120 walks ended`);
      assertEquals([...counts.keys()].sort(), ["get", "get_weather", "none"]);
      assertEquals(several > 0, form !== "llama");
    }
  });
});

Deno.test("toolGrammar: text without a mark is free, one call is one, a named function is called", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const rng = new Rng(3);
    for (const form of ["hermes", "mistral", "llama"] as const) {
      using text = await compiler.start(constraintOf({ form, choice: "auto" }));
      for (const byte of encoder.encode('Plain <tool_call [TOOL {"name": 1}\n\0é')) {
        const ids = allowed(text);
        assert(ids.includes(byte) && !text.failure);
        text.accept(byte);
      }
      assert(allowed(text).includes(END));

      const one = constraintOf({ form, parallel: false, tools: [tools[2]] });
      using named = await compiler.start(one);
      const said = walk(named, "", rng)!;
      const key = form === "llama" ? "parameters" : "arguments";
      assertEquals(callsOf(form, said), [{ name: "none", [key]: {} }]);
    }
  });
});

Deno.test("toolGrammar: with an answer a text is JSON of its schema, or calls from its start", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const rng = new Rng(17);
    const schema = {
      type: "array",
      items: { anyOf: [{ $ref: "#/$defs/a" }, { enum: ["[TOOL_CALLS]", "<tool_call>"] }] },
      maxItems: 3,
      $defs: { a: { type: "integer", minimum: 0, maximum: 99 } },
    };
    for (const form of ["hermes", "mistral"] as const) {
      const answer = { kind: "json_schema" as const, schema };
      const constraint = constraintOf({ form, choice: "auto", answer, tools: tools.slice(1) });
      let whole = 0;
      for (let n = 0; n < 40; n++) {
        const begin = ["[1", toolMarks[form][0]][n % 2];
        using text = await compiler.start(constraint);
        const said = walk(text, begin, rng);
        if (said === undefined) continue;
        whole++;
        if (begin === "[1") assert(conforms(schema, JSON.parse(said)), said);
        else assert(callsOf(form, said).length > 0, said);
      }
      assert(whole >= 20, `${form}: ${whole} of 40 walks ended`);
      using text = await compiler.start(constraint);
      assertEquals(allowed(text).includes("H".charCodeAt(0)), false);
    }
    const object = constraintOf({ choice: "auto", answer: { kind: "json_object" } });
    using text = await compiler.start(object);
    for (const byte of encoder.encode("{\n  ")) {
      assert(allowed(text).includes(byte));
      text.accept(byte);
    }
    assertEquals(allowed(text).includes("\n".charCodeAt(0)), false);
    using any = await compiler.start(
      constraintOf({ choice: "auto", answer: { kind: "json_schema", schema: true } }),
    );
    assertEquals(walk(any, "1", rng)?.startsWith("1"), true);
  });
});

Deno.test("toolGrammar refuses what cannot be kept", () => {
  const cases: [Partial<ToolCallConstraint>, string][] = [
    [{ tools: [] }, "got none"],
    [{ tools: [{ name: '"\n%json' }] }, "letters, digits"],
    [{ tools: [{ name: "a", parameters: { type: "string" } }] }, '#/type is "string"'],
    [
      { tools: [{ name: "a", parameters: { properties: { b: { not: {} } } } }] },
      '"not" at #/properties/b',
    ],
    [{ form: "xml" as "hermes" }, "form is"],
    [{ answer: { kind: "json_object" } }, "an answer with choice required"],
    [{ form: "llama", choice: "auto", answer: { kind: "json_object" } }, "in form llama"],
    [
      { choice: "auto", answer: { kind: "json_schema", schema: { not: {} } } },
      'keyword "not" at #',
    ],
    [{ choice: "auto", answer: { kind: "json_schema", schema: false } }, "allows nothing"],
  ];
  for (const [extra, message] of cases) {
    assertThrows(() => toolGrammar(constraintOf(extra)), ConstraintError, message);
  }
});
