import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { ServerProcess } from "../../scripts/bench/server_process.ts";
import { conforms } from "../oracle/json_schema.ts";
import { hasAdapter } from "../support/needs_adapter.ts";
import { readEvents, testApp } from "../support/test_app.ts";

const path = "/v1/chat/completions";
const messages = [{ role: "user", content: "Is it late?" }];
const tools = [{
  type: "function",
  function: {
    name: "get_time",
    parameters: {
      type: "object",
      properties: { zone: { enum: ["CET", "UTC"] } },
      required: ["zone"],
      additionalProperties: false,
    },
  },
}];
const schema = {
  type: "object",
  properties: { late: { type: "boolean" }, why: { type: "string", maxLength: 12 } },
  required: ["late", "why"],
  additionalProperties: false,
};
const format = { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
const llama = '{% for tool in tools %}<|python_tag|>{{ tool }}{% endfor %}{"parameters"}';

Deno.test("response_format beside tools is what an answer without calls has to be", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const ask = async (extra: Record<string, unknown>) => {
    const response = await post(path, { messages, tools, ...extra });
    assertEquals(response.status, 200, await response.text());
    const { constraint } = pool.requests.at(-1)!;
    return constraint?.kind === "tool_calls" ? constraint.answer : constraint;
  };
  assertEquals(await ask({ response_format: format }), { kind: "json_schema", schema });
  assertEquals(await ask({ response_format: { type: "json_object" } }), { kind: "json_object" });
  assertEquals(await ask({ response_format: { type: "text" } }), undefined);
  assertEquals(await ask({ response_format: format, tool_choice: "required" }), undefined);
});

Deno.test("response_format beside tools is refused where it cannot be kept", async () => {
  const bad = { ...format, json_schema: { name: "a", schema: { not: {} }, strict: true } };
  const cases: [Parameters<typeof testApp>[0], unknown, string, string][] = [
    [{}, bad, "auto", '"not" at #'],
    [{}, bad, "required", '"not" at #'],
    [{ canConstrain: false }, format, "auto", "native library"],
    [{ template: llama }, format, "auto", "JSON objects too"],
  ];
  for (const [fake, response_format, tool_choice, words] of cases) {
    const { post } = testApp({ reply: () => "ab", ...fake });
    const response = await post(path, { messages, tools, response_format, tool_choice });
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, "response_format"], error.message);
    assertStringIncludes(error.message, words);
  }
});

Deno.test({
  name: "the embedded model answers JSON of the schema or calls tools, whole and streamed",
  ignore: !hasAdapter || nativeProblem() !== undefined,
  fn: async () => {
    const file = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
    await using server = await ServerProcess.start(["--model", file]);
    const headers = { "Content-Type": "application/json" };
    const send = (to: string, body: unknown) =>
      fetch(`${server.url}${to}`, { method: "POST", headers, body: JSON.stringify(body) });
    const mark = { prompt: "<tool_call>", add_special_tokens: false };
    const { tokens: [first] } = await (await send("/tokenize", mark)).json();
    const body = { messages, tools, response_format: format, max_tokens: 200, seed: 3, n: 4 };
    for (const bias of [-100, 100]) {
      const asked = { ...body, logit_bias: { [first]: bias } };
      const { choices } = await (await send(path, asked)).json();
      const streamed = ["", "", "", ""];
      const reasons: string[] = [];
      let whole = 0;
      for (const event of await readEvents(await send(path, { ...asked, stream: true }))) {
        for (const { index, delta, finish_reason } of event.choices ?? []) {
          streamed[index] += delta.content ?? "";
          for (const call of delta.tool_calls ?? []) streamed[index] += call.function.arguments;
          if (finish_reason) reasons[index] = finish_reason;
        }
      }
      for (const [i, { message, finish_reason }] of choices.entries()) {
        const calls = (message.tool_calls ?? []) as { function: { arguments: string } }[];
        const texts = calls.map((call) => call.function.arguments);
        assertEquals(streamed[i], (message.content ?? "") + texts.join(""));
        assertEquals(reasons[i], finish_reason);
        if (finish_reason === "length") continue;
        whole++;
        assertEquals(finish_reason, bias < 0 ? "stop" : "tool_calls");
        if (bias < 0) assert(conforms(schema, JSON.parse(message.content)), message.content);
        else {
          assertEquals(message.content, null);
          for (const text of texts) {
            assert(conforms(tools[0].function.parameters, JSON.parse(text)), text);
          }
        }
      }
      assert(whole > 0, `bias ${bias}: every answer was cut`);
    }
  },
});
