import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { nativeProblem } from "../../ffi/load.ts";
import { ServerProcess } from "../../scripts/bench/server_process.ts";
import { GraphSession, input, output, semanticFunction } from "../../src/client/mod.ts";
import { conforms } from "../oracle/json_schema.ts";
import { hasAdapter } from "../support/needs_adapter.ts";
import { testApp } from "../support/test_app.ts";

const messages = [{ role: "user" as const, content: "Describe somebody." }];
const person = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 20 },
    age: { type: "integer", minimum: 0, maximum: 120 },
    likes: { type: "array", items: { enum: ["tea", "rain", 'é"\\'] }, maxItems: 3 },
  },
  required: ["name", "age", "likes"],
  additionalProperties: false,
};
const set = { type: "array", uniqueItems: true, items: { type: "string" } };
const format = (schema: unknown, rest = {}) => ({
  type: "json_schema",
  json_schema: { name: "it", schema, strict: true, ...rest },
});

Deno.test("both completion routes hand constraints to the engine as they were asked for", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const formats: [Record<string, unknown>, unknown][] = [
    [{ response_format: { type: "text" } }, undefined],
    [{ response_format: null, structured_outputs: null }, undefined],
    [{ response_format: { type: "json_object" } }, { kind: "json_object" }],
    [{ response_format: format(person) }, { kind: "json_schema", schema: person }],
    [{ response_format: format(true, { strict: null, description: "d" }) }, {
      kind: "json_schema",
      schema: true,
      loose: true,
    }],
    [{ response_format: format(set, { strict: false }) }, {
      kind: "json_schema",
      schema: set,
      loose: true,
    }],
  ];
  const extensions: [Record<string, unknown>, unknown][] = [
    [{ json: person }, { kind: "json_schema", schema: person }],
    [{ json: JSON.stringify(person) }, { kind: "json_schema", schema: person }],
    [{ regex: "a+", json: null }, { kind: "regex", pattern: "a+" }],
    [{ choice: ["a", "b"] }, { kind: "choice", choices: ["a", "b"] }],
    [{ grammar: 'start: "a"' }, { kind: "grammar", grammar: 'start: "a"' }],
    [{ json_object: true, regex: null }, { kind: "json_object" }],
  ];
  for (const [extra, expected] of formats) {
    for (
      const [path, body] of [["/v1/chat/completions", { messages }], ["/v1/completions", {
        prompt: "a",
      }]] as const
    ) {
      assertEquals((await post(path, { ...body, ...extra })).status, 200);
      assertEquals(pool.requests.at(-1)!.constraint, expected);
    }
  }
  for (const [structured_outputs, expected] of extensions) {
    for (
      const [path, body] of [["/v1/chat/completions", { messages }], ["/v1/completions", {
        prompt: "a",
        n: 2,
      }]] as const
    ) {
      assertEquals((await post(path, { ...body, structured_outputs })).status, 200);
      assertEquals(pool.requests.at(-1)!.constraint, expected);
    }
  }
});

Deno.test("constraints that cannot be kept are refused with the field and the reason", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const cases: [Record<string, unknown>, string, string][] = [
    [{ response_format: { type: "yaml" } }, "response_format.type", '"json_schema"'],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema", "got nothing"],
    [{ response_format: format([]) }, "response_format.json_schema.schema", "a JSON schema"],
    [
      { response_format: format({ properties: { a: { uniqueItems: true } } }) },
      "response_format",
      'keyword "uniqueItems" at #/properties/a is not supported',
    ],
    [{ structured_outputs: {} }, "structured_outputs", "expected one of"],
    [{ structured_outputs: { json_object: false } }, "structured_outputs", "expected one of"],
    [{ structured_outputs: { xml: "a" } }, "structured_outputs", "xml"],
    [{ structured_outputs: { json: "{" } }, "structured_outputs", "no JSON"],
    [{ structured_outputs: { choice: [] } }, "structured_outputs.choice", "not empty"],
    [
      { structured_outputs: { choice: Array(70_000).fill("a") } },
      "structured_outputs.choice",
      "at most 65536",
    ],
    [{ stop_token_ids: Array(20_000).fill(1) }, "stop_token_ids", "at most 16384"],
    [{ stop_token_ids: [1, -1] }, "stop_token_ids", "non-negative integers"],
    [{ structured_outputs: { regex: "" } }, "structured_outputs.regex", "not empty"],
    [
      { structured_outputs: { regex: "a", choice: ["a"] } },
      "structured_outputs.choice",
      "only one constraint may be given, got structured_outputs.regex and structured_outputs.choice",
    ],
    [
      { response_format: { type: "json_object" }, structured_outputs: { regex: "a" } },
      "structured_outputs.regex",
      "only one",
    ],
    [
      { structured_outputs: { regex: "a" }, ignore_eos: true },
      "ignore_eos",
      "cannot be combined with structured_outputs.regex",
    ],
  ];
  for (const [extra, param, text] of cases) {
    const response = await post("/v1/chat/completions", { messages, ...extra });
    const { error } = await response.json();
    assertEquals([response.status, error.type, error.param], [400, "invalid_request_error", param]);
    assertStringIncludes(error.message, text);
  }
  assertEquals(pool.requests.length, 0);
});

const ready = hasAdapter && nativeProblem() === undefined;
Deno.test({
  name: "a served model keeps constraints, whole and streamed, and answers bad ones with 400",
  ignore: !ready,
  fn: async (t) => {
    const model = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
    await using server = await ServerProcess.start(["--model", model]);
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
    const asked = {
      model: "sparrow-mini",
      messages,
      max_tokens: 200,
      temperature: 1.4,
      seed: 7,
      response_format: format(person) as OpenAI.ResponseFormatJSONSchema,
    };

    await t.step("OpenAI's client gets JSON of its schema, n times", async () => {
      const { choices } = await client.chat.completions.create({ ...asked, n: 4 });
      const texts = choices.map((choice) => {
        assertEquals(choice.finish_reason, "stop");
        assert(conforms(person, JSON.parse(choice.message.content!)), choice.message.content!);
        return choice.message.content;
      });
      assertEquals(texts.length, 4);
      assert(new Set(texts).size > 1);
      const parsed = await client.chat.completions.parse(asked);
      assertEquals(
        JSON.stringify(parsed.choices[0].message.parsed),
        JSON.stringify(JSON.parse(texts[0]!)),
      );
    });

    await t.step("a stream gives the same text, beside streams without a constraint", async () => {
      const read = async (extra: Record<string, unknown>) => {
        const stream = await client.chat.completions.create({ ...asked, ...extra, stream: true });
        let text = "", reason = "";
        for await (const chunk of stream) {
          text += chunk.choices[0]?.delta.content ?? "";
          reason = chunk.choices[0]?.finish_reason ?? reason;
        }
        return { text, reason };
      };
      const whole = await client.chat.completions.create(asked);
      const regex = {
        response_format: undefined,
        structured_outputs: { regex: "\\d{3}-[a-f]{2}" },
      };
      const [one, free, two] = await Promise.all([
        read({}),
        read({ response_format: undefined, max_tokens: 20 }),
        read(regex),
      ]);
      assertEquals(one, { text: whole.choices[0].message.content!, reason: "stop" });
      assert(free.text.length > 0);
      assert(/^\d{3}-[a-f]{2}$/.test(two.text), two.text);
      const cut = await read({ max_tokens: 3 });
      assertEquals(cut.reason, "length");
      assert(whole.choices[0].message.content!.startsWith(cut.text));
    });

    await t.step(
      "/v1/completions takes the extension, with log probabilities beside it",
      async () => {
        const response = await fetch(`${server.url}/v1/completions`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({
            prompt: ["The colour is", "It is"],
            logprobs: 2,
            structured_outputs: { choice: ["red", "dark green"] },
          }),
        });
        const { choices } = await response.json();
        for (const { text, logprobs, finish_reason } of choices) {
          assert(["red", "dark green"].includes(text), text);
          assertEquals(finish_reason, "stop");
          assert(logprobs.token_logprobs.every((value: number) => Number.isFinite(value)));
        }
      },
    );

    await t.step("a chain of calls hands JSON on, whatever the model says", async () => {
      await using session = new GraphSession({ url: server.url });
      const options = { temperature: 1.3, maxTokens: 120, seed: 5 };
      const describe = semanticFunction`Somebody who likes ${input("what")}: ${
        output("person", { ...options, constraint: { kind: "json_schema", schema: person } })
      }`;
      const judge = semanticFunction`${input("name")} is ${input("age")}. Old? ${
        output("old", { ...options, constraint: { kind: "choice", choices: ["yes", "no"] } })
      }`;
      const results = ["tea", "rain", "books"].map((what) => {
        const whole = session.call(describe, { what }).person;
        const [name, age] = ["$.name", "$.age"].map((path) =>
          session.transform(whole, [{ kind: "json", path }])
        );
        return { whole, age, old: session.call(judge, { name, age }).old };
      });
      for (const { whole, age, old } of results) {
        const [text, years, answer] = await Promise.all([whole.get(), age.get(), old.get()]);
        assert(conforms(person, JSON.parse(text)), text);
        assertEquals(years, String(JSON.parse(text).age));
        assert(["yes", "no"].includes(answer), answer);
      }
    });

    await t.step("what only the compiler can refuse is a 400, and the server goes on", async () => {
      const bad = [
        { regex: "(a" },
        { regex: "(".repeat(4000) },
        { grammar: "start: missing" },
        { json: { $ref: "#" } },
        { json: { type: "integer", minimum: 2, maximum: 1 } },
      ];
      for (const structured_outputs of bad) {
        for (const stream of [false, true]) {
          const response = await fetch(`${server.url}/v1/chat/completions`, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ messages, structured_outputs, stream }),
          });
          const { error } = await response.json();
          assertEquals([response.status, error.code], [400, "invalid_constraint"]);
        }
      }
      const { choices } = await client.chat.completions.create(asked);
      assertEquals(choices[0].finish_reason, "stop");
    });
  },
});

Deno.test("every way to give a schema refuses numbers that would be changed, by their path", async () => {
  const { post, pool } = testApp();
  const schema = '{"type":"object","properties":{"id":{"const":9007199254740993}}}';
  const chat = (rest: string) => `{"messages":[{"role":"user","content":"a"}],${rest}}`;
  const bodies: [string, string][] = [
    [
      "response_format",
      `"response_format":{"type":"json_schema","json_schema":{"schema":${schema},"strict":true}}`,
    ],
    ["structured_outputs.json", `"structured_outputs":{"json":${schema}}`],
    ["structured_outputs.json", `"structured_outputs":{"json":${JSON.stringify(schema)}}`],
    [
      "tools.0.function.parameters",
      `"tools":[{"type":"function","function":{"name":"f","parameters":${schema},"strict":true}}]`,
    ],
  ];
  for (const [param, rest] of bodies) {
    const response = await post("/v1/chat/completions", chat(rest));
    assertEquals(response.status, 400, rest);
    const { error } = await response.json();
    assertEquals(error.param, param);
    assertStringIncludes(error.message, "#/properties/id/const was read as 9007199254740992");
  }
  assertEquals(pool.requests.length, 0);
});
