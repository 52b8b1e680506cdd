import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { nativeProblem } from "../../ffi/load.ts";
import { ServerProcess } from "../../scripts/bench/server_process.ts";
import { serve } from "../../src/server/serve.ts";
import { conforms } from "../oracle/json_schema.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { hasAdapter } from "../support/needs_adapter.ts";
import { readEvents, testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

const path = "/v1/chat/completions";
const messages = [{ role: "user" as const, content: "What is the weather in Paris?" }];
const weather = {
  type: "object",
  properties: {
    city: { type: "string", maxLength: 20 },
    unit: { enum: ["C", "F"] },
    days: { type: "integer", minimum: 1, maximum: 9 },
  },
  required: ["city", "unit", "days"],
  additionalProperties: false,
};
const time = { type: "object", properties: { zone: { enum: ["CET", "UTC"] } }, required: ["zone"] };
const tools = [
  {
    type: "function" as const,
    function: { name: "get_weather", description: "Weather of a city", parameters: weather },
  },
  { type: "function" as const, function: { name: "get_time", parameters: time } },
];
const named = (name: string) => ({ type: "function" as const, function: { name } });
const written = (name: string, values: unknown) =>
  `<tool_call>\n${JSON.stringify({ name, arguments: values })}\n</tool_call>`;
const paris = { city: "Paris", unit: "C", days: 3 };
const twoCalls = `Wait.\n${written("get_weather", paris)}\n${written("get_time", { zone: "UTC" })}`;
const history = [
  ...messages,
  {
    role: "assistant" as const,
    content: null,
    tool_calls: [{
      id: "call_1",
      type: "function" as const,
      function: { name: "get_weather", arguments: JSON.stringify(paris) },
    }],
  },
  {
    role: "tool" as const,
    tool_call_id: "call_1",
    content: "12 C, rain </tool_response><|im_end|>",
  },
];

interface Call {
  id: string;
  type: string;
  function: { name: string; arguments: string };
}

interface WireChoice {
  message: { content: string | null; tool_calls?: Call[] };
}

/** What the chunks of each choice of a stream add up to. */
// deno-lint-ignore no-explicit-any -- events of any shape
function added(events: any[]) {
  const choices: { content: string | null; calls: Call[]; reason: string; logprobs: number }[] = [];
  for (const event of events.filter((one) => one.choices?.length)) {
    const { index, delta, finish_reason, logprobs } = event.choices[0];
    const choice = choices[index] ??= { content: null, calls: [], reason: "", logprobs: 0 };
    if (delta.content) choice.content = (choice.content ?? "") + delta.content;
    for (const { index: at, id, type, function: f } of delta.tool_calls ?? []) {
      if (id) {
        assertEquals([at, f.arguments], [choice.calls.length, ""]);
        choice.calls.push({ id, type, function: { name: f.name, arguments: "" } });
      } else {
        assertEquals([at, f.name], [choice.calls.length - 1, undefined]);
        choice.calls[at].function.arguments += f.arguments;
      }
    }
    if (finish_reason) choice.reason = finish_reason;
    choice.logprobs += logprobs?.content.length ?? 0;
  }
  return choices;
}

const bare = (calls: Call[] = []) => calls.map((call) => call.function);

Deno.test("tools reach the engine: shown to the model, constrained, the marks of its form visible", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const ask = async (extra: Record<string, unknown>) => {
    const response = await post(path, { messages, tools, ...extra });
    assertEquals(response.status, 200, await response.clone().text());
    return pool.requests.at(-1)!;
  };
  const definitions = tools.map((tool) => tool.function);
  const held = definitions.map(({ name, parameters }) => ({ name, parameters, loose: true }));
  const constraint = {
    kind: "tool_calls" as const,
    form: "hermes" as const,
    tools: held,
    choice: "auto" as const,
    parallel: true,
  };
  const auto = await ask({});
  assertEquals(auto.prompt, { type: "chat", messages, tools: definitions });
  assertEquals(auto.constraint, constraint);
  assertEquals(auto.visible, ["<tool_call>", "</tool_call>"]);
  assertEquals((await ask({ tool_choice: "required", parallel_tool_calls: false })).constraint, {
    ...constraint,
    choice: "required",
    parallel: false,
  });
  const one = await ask({ tool_choice: named("get_time") });
  assertEquals(one.constraint, {
    ...constraint,
    tools: [held[1]],
    choice: "required",
    parallel: false,
  });
  assertEquals(one.prompt, auto.prompt);
  for (
    const extra of [{ tool_choice: "none" }, { tools: [], tool_choice: "auto" }, { tools: null }]
  ) {
    const free = await ask({ ...extra, response_format: { type: "json_object" } });
    assertEquals(free.prompt, { type: "chat", messages });
    assertEquals(free.constraint, { kind: "json_object" });
  }
  const { prompt } = await ask({ messages: history });
  assertEquals(prompt, {
    type: "chat",
    messages: [
      messages[0],
      {
        role: "assistant",
        content: "",
        toolCalls: [{ id: "call_1", name: "get_weather", arguments: paris }],
      },
      {
        role: "tool",
        content: history[2].content!,
        name: "get_weather",
        toolCallId: "call_1",
      },
    ],
    tools: definitions,
  });
});

Deno.test("tools that cannot be kept are refused with the field and the reason", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const tool = (name: unknown, parameters?: unknown, strict?: boolean) => ({
    type: "function",
    function: { name, parameters, strict },
  });
  let deep: unknown = {};
  for (let i = 0; i < 5000; i++) deep = { a: deep };
  const turn = (extra: Record<string, unknown>) => ({ messages: [...messages, extra] });
  const cases: [Record<string, unknown>, string, string][] = [
    [{ tools: [{ type: "function" }] }, "tools.0.function", "expected object"],
    [{ tools: [{ type: "retrieval" }] }, "tools.0.type", "function"],
    [{ tools: [tool("")] }, "tools.0.function.name", "letters, digits"],
    [{ tools: [tool("<tool_call>")] }, "tools.0.function.name", "letters, digits"],
    [{ tools: [tool("a".repeat(65))] }, "tools.0.function.name", "1 to 64"],
    [{ tools: [tool("a"), tool("b"), tool("a")] }, "tools.2.function.name", "another tool's name"],
    [{ tools: Array.from({ length: 1000 }, (_, i) => tool(`t${i}`)) }, "tools", "at most 128"],
    [
      { tools: [tool("a"), tool("b", { properties: { x: { uniqueItems: true } } }, true)] },
      "tools.1.function.parameters",
      'keyword "uniqueItems" at #/properties/x is not supported',
    ],
    [{ tools: [tool("a", { type: "array" })] }, "tools.0.function.parameters", '"object"'],
    [{ tools: [tool("a", { default: deep })] }, "tools.0.function.parameters", "100 levels"],
    [{ tools: [tool("a", { properties: deep })] }, "tools.0.function.parameters", "levels deep"],
    [
      { tools: Array.from({ length: 3 }, (_, i) => tool(`t${i}`, { const: "x".repeat(60000) })) },
      "tools",
      "characters",
    ],
    [{ tools, tool_choice: "any" }, "tool_choice", 'expected "none"'],
    [{ tools, tool_choice: named("nobody") }, "tool_choice.function.name", "get_weather, get_time"],
    [{ tool_choice: named("get_time") }, "tool_choice.function.name", "there are none"],
    [{ tool_choice: "required" }, "tool_choice", "needs tools"],
    [{ tools, structured_outputs: { regex: "a" } }, "structured_outputs", "with tools"],
    [{ tools, ignore_eos: true }, "ignore_eos", "with tools"],
    [turn({ role: "tool", content: "x" }), "messages.1.tool_call_id", "got nothing"],
    [turn({ role: "tool", content: "x", tool_call_id: "c" }), "messages.1.tool_call_id", "no call"],
    [
      { messages: [...history, ...messages, history[2]] },
      "messages.4.tool_call_id",
      '"call_1" is no call',
    ],
    [
      turn({ ...history[1], role: "user" }),
      "messages.1.tool_calls",
      "only an assistant's",
    ],
    [
      turn({ role: "assistant", tool_calls: [{ id: "", type: "function" }] }),
      "messages.1.tool_calls.0.id",
      "",
    ],
    ...["{", "[1]", "3", '"{}"'].map((text): [Record<string, unknown>, string, string] => [
      turn({
        role: "assistant",
        tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: text } }],
      }),
      "messages.1.tool_calls.0.function.arguments",
      "JSON object",
    ]),
  ];
  for (const [extra, param, text] of cases) {
    const response = await post(path, { messages, ...extra });
    const { error } = await response.json();
    assertEquals([response.status, error.type, error.param], [400, "invalid_request_error", param]);
    assertStringIncludes(error.message, text);
  }
  assertEquals(pool.requests.length, 0);

  const without = testApp({ reply: () => "ab", canConstrain: false });
  const refused = await without.post(path, { messages, tools, tool_choice: "required" });
  assertEquals(refused.status, 400);
  assertStringIncludes((await refused.json()).error.message, "native library");
});

Deno.test("calls are answered whole and streamed alike, constrained or not, for every choice", async () => {
  const replies: [string, string | null, unknown[], string][] = [
    [twoCalls, "Wait.", [{ get_weather: paris }, { get_time: { zone: "UTC" } }], "tool_calls"],
    [written("get_time", { zone: "CET" }), null, [{ get_time: { zone: "CET" } }], "tool_calls"],
    ["It is <b>fine</b>.\n", "It is <b>fine</b>.\n", [], "stop"],
  ];
  for (const canConstrain of [true, false]) {
    for (const [text, content, calls, reason] of replies) {
      const { post } = testApp({ reply: () => text, canConstrain });
      const whole = await (await post(path, { messages, tools, n: 2 })).json();
      const events = await readEvents(await post(path, { messages, tools, n: 2, stream: true }));
      assertEquals(events[0].choices[0].delta, { role: "assistant", content: null });
      const streamed = added(events);
      for (const [index, { message, finish_reason }] of whole.choices.entries()) {
        assertEquals([message.content, finish_reason], [content, reason]);
        const found = bare(message.tool_calls);
        assertEquals(
          found.map((call) => ({ [call.name]: JSON.parse(call.arguments) })),
          calls as typeof found extends unknown[] ? { [x: string]: unknown }[] : never,
        );
        for (const call of message.tool_calls ?? []) assertMatch(call.id, /^call_[0-9a-f]{24}$/);
        assertEquals("tool_calls" in message, calls.length > 0);
        assertEquals(streamed[index].content, content);
        assertEquals(bare(streamed[index].calls), found);
        assertEquals(streamed[index].reason, reason);
      }
      const ids = whole.choices.flatMap((choice: { message: { tool_calls?: Call[] } }) =>
        (choice.message.tool_calls ?? []).map(({ id }) => id)
      );
      assertEquals(new Set(ids).size, 2 * calls.length);
    }
  }
});

Deno.test("a call that is cut short is passed on as far as it came, or is content where it cannot be known", async () => {
  const pieces = twoCalls.split("Paris");
  const cuts: [Record<string, unknown>, string][] = [
    [{ max_tokens: pieces[0].length + 2 }, "length"],
    [{ stop: "ris" }, "stop"],
  ];
  for (const [extra, reason] of cuts) {
    for (const canConstrain of [true, false]) {
      const { post } = testApp({ reply: () => twoCalls, canConstrain });
      const [{ message, finish_reason }] =
        (await (await post(path, { messages, tools, ...extra })).json()).choices;
      const [streamed] = added(
        await readEvents(await post(path, { messages, tools, ...extra, stream: true })),
      );
      assertEquals(finish_reason, reason);
      assertEquals(message.content, canConstrain ? "Wait." : `${pieces[0]}Pa`);
      assertEquals(
        bare(message.tool_calls),
        canConstrain ? [{ name: "get_weather", arguments: '{"city":"Pa' }] : [],
      );
      assertEquals(
        [streamed.content, streamed.reason, bare(streamed.calls)],
        [message.content, reason, bare(message.tool_calls)],
      );
    }
  }
});

Deno.test("without the native library one call is one where several are not wanted, and a wrong one is text", async () => {
  const ask = async (text: string, extra = {}) => {
    const { post } = testApp({ reply: () => text, canConstrain: false });
    const { choices } = await (await post(path, { messages, tools, ...extra })).json();
    return choices[0];
  };
  const one = await ask(twoCalls, { parallel_tool_calls: false });
  assertEquals(one.message.tool_calls.length, 1);
  assertStringIncludes(one.message.content, "get_time");
  const wrong = written("nobody", {});
  assertEquals((await ask(wrong)).message, { role: "assistant", content: wrong, refusal: null });
  assertEquals((await ask(twoCalls, { tool_choice: "none" })).message.content, twoCalls);
});

Deno.test("a client that leaves a stream of calls cancels the generation", async () => {
  const { post, pool } = testApp({ reply: () => twoCalls, tokenDelayMs: 2 });
  const response = await post(path, { messages, tools, stream: true });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  await until(() => pool.cancelled === 1, "the generation is cancelled");
});

Deno.test("openai's client runs a tool and streams calls", async () => {
  const answered = (prompt: string) => prompt.includes("<tool>");
  const pool = new FakeEnginePool({
    reply: (_, prompt) => answered(prompt) ? "It rains." : written("get_weather", paris),
  });
  await using server = await serve({ port: 0, pool });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
  let asked: unknown;
  const runner = client.chat.completions.runTools({
    model: "fake",
    messages,
    tools: [{
      type: "function",
      function: {
        name: "get_weather",
        description: "Weather of a city",
        parameters: weather,
        parse: JSON.parse,
        function: (values: unknown) => {
          asked = values;
          return "rain";
        },
      },
    }],
  });
  assertEquals(await runner.finalContent(), "It rains.");
  assertEquals(asked, paris);
  const stream = client.chat.completions.stream({ model: "fake", messages, tools });
  const pieces: string[] = [];
  stream.on("tool_calls.function.arguments.delta", (event) => pieces.push(event.arguments_delta));
  const [choice] = (await stream.finalChatCompletion()).choices;
  assertEquals(choice.finish_reason, "tool_calls");
  const [call] = choice.message.tool_calls!;
  assertEquals(JSON.parse((call as Call).function.arguments), paris);
  assert(pieces.length > 3);
});

const ready = hasAdapter && nativeProblem() === undefined;
Deno.test({
  name: "the embedded model calls tools whose arguments fit, whole and streamed, over HTTP",
  ignore: !ready,
  fn: async (t) => {
    const file = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
    await using server = await ServerProcess.start(["--model", file]);
    const post = (body: unknown) =>
      fetch(`${server.url}${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    const schemas: Record<string, Record<string, unknown>> = {
      get_weather: weather,
      get_time: time,
    };
    const check = (calls: Call[]) => {
      for (const { id, type, function: { name, arguments: json } } of calls) {
        assertMatch(id, /^call_/);
        assertEquals(type, "function");
        assert(conforms(schemas[name], JSON.parse(json)), `${name} ${json}`);
      }
    };
    const asked = { messages, tools, max_tokens: 400, temperature: 1.3, seed: 9 };

    await t.step(
      "required and named, n times, with log probabilities, equal to the stream",
      async () => {
        for (const tool_choice of ["required", named("get_weather"), named("get_time")]) {
          const body = { ...asked, tool_choice, n: 2, logprobs: true };
          const whole = await (await post(body)).json();
          const streamed = added(await readEvents(await post({ ...body, stream: true })));
          for (const [index, { message, finish_reason, logprobs }] of whole.choices.entries()) {
            if (finish_reason === "tool_calls") check(message.tool_calls);
            else assertEquals(finish_reason, "length");
            if (typeof tool_choice === "object") {
              assertEquals(finish_reason, "tool_calls");
              assertEquals(bare(message.tool_calls).map(({ name }) => name), [
                tool_choice.function.name,
              ]);
            }
            assertEquals(bare(streamed[index].calls), bare(message.tool_calls));
            assertEquals(streamed[index].content, message.content);
            assertEquals(streamed[index].reason, finish_reason);
            assertEquals(streamed[index].logprobs, logprobs.content.length);
          }
        }
      },
    );

    await t.step("auto that calls nothing is the text without a constraint, greedily", async () => {
      const body = { messages, tools, temperature: 0, max_tokens: 60 };
      const { choices: [{ message, finish_reason }], usage } = await (await post(body)).json();
      assertEquals("tool_calls" in message, false);
      const described = await (await post({
        messages: [{ role: "system", content: await shown() }, ...messages],
        temperature: 0,
        max_tokens: 60,
      })).json();
      assertEquals(described.usage.prompt_tokens, usage.prompt_tokens);
      assertEquals(described.choices[0].message.content, message.content);
      assertEquals(described.choices[0].finish_reason, finish_reason);
    });

    await t.step("auto that is led to a mark calls, several tools too", async () => {
      // The mark's own tokens are made likely: what follows it is the grammar's.
      const { tokens } = await (await fetch(`${server.url}/tokenize`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt: "<tool_call>\n", add_special_tokens: false }),
      })).json();
      const body = {
        messages: [...messages, { role: "assistant", content: "<tool_call>\n".repeat(20) }],
        tools: [tools[1], { type: "function", function: { name: "stop" } }],
        logit_bias: Object.fromEntries(tokens.map((id: number) => [id, 8])),
        temperature: 1,
        seed: 1,
        n: 8,
        max_tokens: 100,
      };
      const { choices } = await (await post(body)).json();
      const streamed = added(await readEvents(await post({ ...body, stream: true })));
      const counts = choices.map(
        ({ message: { content, tool_calls = [] } }: WireChoice, index: number) => {
          assertEquals(bare(streamed[index].calls), bare(tool_calls));
          assertEquals(streamed[index].content, content);
          // The last one may have been cut by max_tokens.
          for (const { function: { name, arguments: json } } of tool_calls.slice(0, -1)) {
            if (name === "get_time") assert(conforms(time, JSON.parse(json)), json);
            else assertEquals(JSON.parse(json), {});
          }
          return tool_calls.length;
        },
      );
      assert(counts.filter((count: number) => count > 0).length >= 4, `calls: ${counts}`);
      assert(Math.max(...counts) > 1, `calls: ${counts}`);
    });

    await t.step("a call, its result, and the answer", async () => {
      const first = await (await post({ ...asked, tool_choice: named("get_weather") })).json();
      const { message } = first.choices[0];
      const [call] = message.tool_calls;
      const result = { role: "tool", tool_call_id: call.id, content: history[2].content };
      const body = { ...asked, messages: [...messages, message, result], temperature: 0 };
      const answer = await (await post({ ...body, max_tokens: 40 })).json();
      assert(answer.choices[0].message.content?.length > 0);
      assert(answer.usage.prompt_tokens > first.usage.prompt_tokens);
    });

    await t.step("a cut call is what came of it; other requests go on beside it", async () => {
      const [cut, free] = await Promise.all([
        post({ ...asked, tool_choice: named("get_weather"), max_tokens: 30 }),
        post({ messages, max_tokens: 10, temperature: 0 }),
      ]);
      const [{ message, finish_reason }] = (await cut.json()).choices;
      assertEquals(finish_reason, "length");
      if (message.tool_calls) assert(message.tool_calls[0].function.arguments.startsWith("{"));
      assertEquals(free.status, 200);
      await free.body?.cancel();
    });
  },
});

/** The tools as they stand in the system message of a model whose template knows none. */
async function shown(): Promise<string> {
  const { writtenTools } = await import("../../src/tokenizer/written_tools.ts");
  return writtenTools([], tools.map((tool) => tool.function))[0].content;
}

Deno.test("a required call that is cut before its name leaves nothing of its markup, whole and streamed", async () => {
  const { post } = testApp({ reply: () => twoCalls.slice(twoCalls.indexOf("<tool_call")) });
  for (const tool_choice of ["required", named("get_weather")]) {
    for (const max_tokens of [1, 5, 10, 14, 20]) {
      const body = { messages, tools, tool_choice, max_tokens };
      const [{ message, finish_reason }] = (await (await post(path, body)).json()).choices;
      assertEquals([message.content, finish_reason], ["", "length"]);
      assertEquals("tool_calls" in message, false);
      const [streamed] = added(await readEvents(await post(path, { ...body, stream: true })));
      assertEquals([streamed.content ?? "", streamed.calls.length, streamed.reason], [
        "",
        0,
        "length",
      ]);
    }
  }
});
