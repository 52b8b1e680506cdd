import { assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { readEvents, testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";
import { eventStreamResponse } from "../../src/server/sse.ts";

const messages = [{ role: "user", content: "hello" }];
const reply = () => "Good morning.";

Deno.test("POST /v1/chat/completions answers in OpenAI's shape with usage", async () => {
  const { post, pool } = testApp({ reply });
  const response = await post("/v1/chat/completions", { model: "fake", messages, seed: 3 });
  assertEquals(response.status, 200);
  const body = await response.json();
  assertMatch(body.id, /^chatcmpl-/);
  assertEquals(body.object, "chat.completion");
  assertEquals(body.model, "fake");
  assertEquals(body.choices, [{
    index: 0,
    message: { role: "assistant", content: "Good morning.", refusal: null },
    logprobs: null,
    finish_reason: "stop",
  }]);
  const promptTokens = "<user>hello\n<assistant>".length;
  assertEquals(body.usage, {
    prompt_tokens: promptTokens,
    completion_tokens: 13,
    total_tokens: promptTokens + 13,
    prompt_tokens_details: { cached_tokens: 0 },
  });
  assertEquals(pool.requests[0].prompt, { type: "chat", messages });
});

Deno.test("POST /v1/chat/completions streams role, text, reason, usage and [DONE] in this order", async () => {
  const { post } = testApp({ reply: () => "héllo 🐦" });
  const response = await post("/v1/chat/completions", {
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  assertStringIncludes(response.headers.get("Content-Type") ?? "", "text/event-stream");
  const events = await readEvents(response);
  assertEquals(events.at(-1), "[DONE]");
  assertEquals(events[0].choices[0].delta, { role: "assistant", content: "" });
  const chunks = events.slice(1, -3);
  assertEquals(
    chunks.map((e) => e.choices[0].delta.content).join(""),
    "héllo 🐦",
  );
  assertEquals(chunks.every((e) => e.object === "chat.completion.chunk"), true);
  assertEquals(events.at(-3).choices[0].finish_reason, "stop");
  assertEquals(events.at(-2).choices, []);
  assertEquals(events.at(-2).usage.completion_tokens, 7);
});

Deno.test("POST /v1/chat/completions leaves usage out of a stream that did not ask for it", async () => {
  const { post } = testApp({ reply });
  const events = await readEvents(
    await post("/v1/chat/completions", { messages, stream: true }),
  );
  assertEquals(events.some((e) => e.usage !== undefined), false);
});

Deno.test("POST /v1/chat/completions ends with length at max_completion_tokens, max_tokens failing that", async () => {
  const { post } = testApp({ reply });
  for (
    const [limits, tokens] of [
      [{ max_tokens: 4 }, 4],
      [{ max_completion_tokens: 3, max_tokens: 9 }, 3],
    ] as const
  ) {
    const body = await (await post("/v1/chat/completions", { messages, ...limits })).json();
    assertEquals(body.choices[0].finish_reason, "length");
    assertEquals(body.usage.completion_tokens, tokens);
  }
});

Deno.test("POST /v1/chat/completions passes every sampling field to the engine", async () => {
  const { post, pool } = testApp({ reply });
  await (await post("/v1/chat/completions", {
    messages,
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.05,
    presence_penalty: -0.5,
    frequency_penalty: 1.5,
    logit_bias: { "3": -100, "65": 2 },
    seed: -1,
    stop: ["x", "y"],
    stop_token_ids: [7],
    ignore_eos: true,
    sparrow: { decode: { kind: "retrieval", k: 100 }, criteria: "throughput" },
  })).body?.cancel();
  const [request] = pool.requests;
  assertEquals(request.sampling, {
    temperature: 0.5,
    topP: 0.9,
    topK: 40,
    minP: 0.05,
    presencePenalty: -0.5,
    frequencyPenalty: 1.5,
    logitBias: { 3: -100, 65: 2 },
    seed: 0xffffffff,
  });
  assertEquals(request.stop, ["x", "y"]);
  assertEquals(request.stopTokens, [7]);
  assertEquals(request.ignoreEos, true);
  assertEquals(request.decode, { kind: "retrieval", k: 100 });
  assertEquals(request.criteria, "throughput");
});

Deno.test("POST /v1/chat/completions cuts before a stop string", async () => {
  const { post } = testApp({ reply });
  const body = await (await post("/v1/chat/completions", { messages, stop: "morn" })).json();
  assertEquals(body.choices[0].message.content, "Good ");
  assertEquals(body.choices[0].finish_reason, "stop");
});

Deno.test("POST /v1/chat/completions gives the same text for the same seed, and draws one when absent", async () => {
  const { post, pool } = testApp();
  const say = async (seed?: number) =>
    (await (await post("/v1/chat/completions", { messages, seed })).json()).choices[0].message
      .content;
  assertEquals(await say(5), await say(5));
  await say();
  await say();
  const [a, b] = pool.requests.slice(-2).map((r) => r.sampling.seed);
  assertEquals(a === b, false);
});

Deno.test("POST /v1/chat/completions joins text parts and refusals and reads developer as system", async () => {
  const { post, pool } = testApp({ reply });
  await (await post("/v1/chat/completions", {
    messages: [
      { role: "developer", content: "be brief" },
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "assistant", content: null },
      {
        role: "assistant",
        content: [{ type: "text", text: "No: " }, { type: "refusal", refusal: "I can't." }],
      },
    ],
  })).body?.cancel();
  assertEquals(pool.requests[0].prompt, {
    type: "chat",
    messages: [
      { role: "system", content: "be brief" },
      { role: "user", content: "ab" },
      { role: "assistant", content: "" },
      { role: "assistant", content: "No: I can't." },
    ],
  });
});

Deno.test("POST /v1/chat/completions refuses what it does not implement, naming the field", async () => {
  const { post, pool } = testApp({ reply });
  const cases: [Record<string, unknown>, string, string][] = [
    [{ n: 0 }, "n", "got 0"],
    [{ n: 129 }, "n", "got 129"],
    [{ logprobs: 1 }, "logprobs", "got 1"],
    [{ top_logprobs: 3 }, "top_logprobs", "`logprobs: true` beside it"],
    [{ logprobs: true, top_logprobs: 21 }, "top_logprobs", "got 21"],
    [{ logprobs: true, top_logprobs: -1 }, "top_logprobs", "got -1"],
    [{ functions: [{ name: "f" }] }, "functions", "use `tools`"],
    [{ function_call: { name: "f" } }, "function_call", "use `tool_choice`"],
    [{ messages: [{ role: "user" }] }, "messages.0.content", "got nothing"],
    [{ presence_penalty: 2.5 }, "presence_penalty", "got 2.5"],
    [{ frequency_penalty: -3 }, "frequency_penalty", "got -3"],
    [{ logit_bias: { "5": 101 } }, "logit_bias.5", "got 101"],
    [{ logit_bias: { five: 1 } }, "logit_bias", "token ids"],
    [{ logit_bias: { "99999999": 1 } }, "logit_bias", "vocabulary"],
    [{ temperature: 7 }, "temperature", "got 7"],
    [{ seed: 1.5 }, "seed", "got 1.5"],
    [{ stop: [""] }, "stop.0", 'got ""'],
    [{ messages: [] }, "messages", "got []"],
    [
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      "messages.0.content",
      "text parts",
    ],
    [{ sparrow: { decode: { kind: "magic" } } }, "sparrow.decode.kind", "magic"],
    [{ sparrow: { mode: 1 } }, "sparrow", "mode"],
    [{ sparrow: { decode: { kind: "retrieval", key: 3 } } }, "sparrow.decode", '"key"'],
    [{ sparrow: { decode: { kind: "dense", k: 3 } } }, "sparrow.decode", '"k"'],
    [{ continue_final_message: true }, "continue_final_message", "only false"],
    [{ add_generation_prompt: false }, "add_generation_prompt", "only true"],
    [{ chat_template: "{{ messages }}" }, "chat_template", "only null"],
    [{ chat_template_kwargs: { enable_thinking: false } }, "chat_template_kwargs", "only {}"],
    [{ modalities: ["text", "audio"] }, "modalities", 'only ["text"]'],
    [{ audio: { voice: "alloy" } }, "audio", "only null"],
    [{ web_search_options: {} }, "web_search_options", "only null"],
    [{ prediction: { type: "content", content: "x" } }, "prediction", "only null"],
    [{ echo: true }, "echo", "`/v1/completions`"],
    [{ documents: [{ text: "x" }] }, "documents", "only []"],
    [
      { messages: [{ role: "assistant", function_call: { name: "f", arguments: "{}" } }] },
      "messages.0.function_call",
      "use `tool_calls`",
    ],
  ];
  for (const [extra, param, text] of cases) {
    const response = await post("/v1/chat/completions", { messages, ...extra });
    assertEquals(response.status, 400, param);
    const { error } = await response.json();
    assertEquals(error.type, "invalid_request_error");
    assertEquals(error.param, param);
    assertStringIncludes(error.message, text);
    assertEquals(error.message.includes("best_of"), false, error.message);
  }
  assertEquals(pool.requests.length, 0);
});

Deno.test("POST /v1/chat/completions accepts the neutral values that clients send by habit", async () => {
  const { post } = testApp({ reply });
  const response = await post("/v1/chat/completions", {
    messages,
    n: 1,
    logprobs: false,
    top_logprobs: 0,
    tools: [],
    tool_choice: "auto",
    parallel_tool_calls: true,
    functions: [],
    function_call: null,
    logit_bias: {},
    presence_penalty: 0,
    frequency_penalty: null,
    response_format: { type: "text" },
    user: "someone",
    continue_final_message: false,
    add_generation_prompt: true,
    chat_template: null,
    echo: false,
    documents: [],
    modalities: ["text"],
    audio: null,
    web_search_options: null,
    prediction: null,
    metadata: { a: "b" },
    store: false,
    service_tier: "auto",
    safety_identifier: "x",
    prompt_cache_key: "y",
    sparrow: { decode: { kind: "auto" } },
  });
  assertEquals(response.status, 200);
  await response.body?.cancel();
  const assistant = { role: "assistant", content: "a", function_call: null, audio: null };
  const replayed = await post("/v1/chat/completions", { messages: [assistant] });
  assertEquals(replayed.status, 200);
  await replayed.body?.cancel();
});

const surfaces = [["/v1/chat/completions", { messages }], ["/v1/completions", {
  prompt: "a",
}]] as const;

Deno.test("a stream tells in comments how much of a long prompt is read, where it is asked to", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const prompt = "x".repeat(1200);
  const ask = async (sparrow: unknown, stream = true) => {
    const response = await post("/v1/completions", { prompt, stream, sparrow });
    return (await response.text()).split("\n").filter((line) => line.startsWith(":"));
  };
  assertEquals(await ask({ progress: true }), [
    ": read 512 of 1200 tokens",
    ": read 1024 of 1200 tokens",
  ]);
  assertEquals(await ask({}), []);
  assertEquals(await ask({ progress: true }, false), []);
  assertEquals(pool.requests.map(({ progress }) => progress), [true, undefined, true]);
  assertEquals((await post("/v1/completions", { prompt, sparrow: { progress: 1 } })).status, 400);
});

Deno.test("both completion routes read null as a field that is absent, as clients write it", async () => {
  const { get, post } = testApp({ reply });
  const { schemas } = (await (await get("/openapi.json")).json()).components;
  for (const [i, name] of ["ChatCompletionRequest", "CompletionRequest"].entries()) {
    const [path, body] = surfaces[i];
    const { properties, required } = schemas[name];
    const nulls = Object.keys(properties).filter((field) => !required.includes(field))
      .map((field) => [field, null]);
    const format = { name: null, description: null, strict: null, schema: { const: 1 } };
    for (
      const fields of [
        Object.fromEntries(nulls),
        { stream_options: { include_usage: null } },
        { response_format: { type: "json_schema", json_schema: format } },
      ]
    ) {
      const response = await post(path, { ...body, ...fields });
      const text = await response.text();
      assertEquals(response.status, 200, text);
    }
  }
  const nameless = { ...messages[0], name: null, tool_calls: null, tool_call_id: null };
  const response = await post("/v1/chat/completions", { messages: [nameless] });
  assertEquals(response.status, 200, await response.text());
});

Deno.test("both completion routes refuse what neither implements, and accept what says nothing of it", async () => {
  const { post, pool } = testApp({ reply });
  const refused: [Record<string, unknown>, string][] = [
    [{ guided_json: {} }, "structured_outputs.json"],
    [{ guided_regex: "a" }, "structured_outputs.regex"],
    [{ guided_choice: ["a"] }, "structured_outputs.choice"],
    [{ guided_grammar: "start: A" }, "structured_outputs.grammar"],
    [{ repetition_penalty: 1.1 }, "only 1 is supported"],
    [{ min_tokens: 1 }, "only 0 is supported"],
    [{ bad_words: ["a"] }, "only [] is supported"],
    [{ include_stop_str_in_output: true }, "only false is supported"],
    [{ prompt_logprobs: 0 }, "only null is supported"],
    [{ use_beam_search: true }, "only false is supported"],
    [{ length_penalty: 2 }, "only 1 is supported"],
    [{ allowed_token_ids: [1] }, "only null is supported"],
    [{ truncate_prompt_tokens: 5 }, "only null is supported"],
    [{ skip_special_tokens: false }, "only true is supported"],
    [{ prompt_embeds: "AAAA" }, "only null is supported"],
    [{ logits_processors: ["a.b"] }, "only [] is supported"],
    [{ grammar: "root ::= x" }, 'only "" is supported'],
    [{ json_schema: {} }, "only null is supported"],
    [{ structural_tag: {} }, "only null is supported"],
    [{ best_of: 2 }, "at most `n`"],
    [{ best_of: 4, n: 3 }, "at most `n`"],
    [{ best_of: 0 }, "got 0"],
  ];
  const accepted: Record<string, unknown>[] = [
    ...refused.map(([fields]) => ({ [Object.keys(fields)[0]]: null })),
    { repetition_penalty: 1.0, min_tokens: 0, bad_words: [], include_stop_str_in_output: false },
    { best_of: 1 },
    { best_of: 1, n: 2 },
    { best_of: 2, n: 2 },
  ];
  for (const [path, body] of surfaces) {
    for (const [fields, words] of refused) {
      const response = await post(path, { ...body, ...fields });
      assertEquals(response.status, 400, `${path} ${JSON.stringify(fields)}`);
      const { error } = await response.json();
      assertEquals(error.param, Object.keys(fields)[0]);
      assertStringIncludes(error.message, words);
    }
    assertEquals(pool.requests.length, 0);
    for (const fields of accepted) {
      const response = await post(path, { ...body, ...fields });
      assertEquals(response.status, 200, `${path} ${JSON.stringify(fields)}`);
      await response.body?.cancel();
    }
    pool.requests.length = 0;
  }
});

Deno.test("both completion routes take seeds of any size, of which the engine gets 32 bits", async () => {
  const { post, pool } = testApp({ reply });
  const seeds: [string, number][] = [
    ["4294967301", 5],
    ["9007199254740993", 0],
    ["18446744073709551615", 0],
    ["-9223372036854775808", 0],
    ["-2", 0xfffffffe],
    ["1e300", 0],
  ];
  for (const [path, body] of surfaces) {
    for (const [seed, expected] of seeds) {
      const text = JSON.stringify(body).replace("{", `{"seed":${seed},`);
      const response = await post(path, text);
      assertEquals(response.status, 200, seed);
      await response.body?.cancel();
      assertEquals(pool.requests.at(-1)!.sampling.seed, expected, seed);
    }
    for (const seed of ["1.5", "1e400", '"1"']) {
      const response = await post(path, JSON.stringify(body).replace("{", `{"seed":${seed},`));
      assertEquals(response.status, 400, seed);
      assertEquals((await response.json()).error.param, "seed");
    }
  }
});

Deno.test("POST /v1/chat/completions says so when the model has no chat template", async () => {
  const { post } = testApp({ reply, chatTemplate: false });
  const response = await post("/v1/chat/completions", { messages });
  assertEquals(response.status, 400);
  assertStringIncludes((await response.json()).error.message, "/v1/completions");
});

Deno.test("POST /v1/chat/completions cancels when the reader of a stream leaves", async () => {
  const { post, pool } = testApp({ reply: () => "x".repeat(500), tokenDelayMs: 2 });
  const response = await post("/v1/chat/completions", { messages, stream: true });
  const reader = response.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await until(() => pool.cancelled === 1, "the generation is cancelled");
  assertEquals(pool.load()[0].pagesUsed, 0);
});

Deno.test("POST /v1/chat/completions cancels when the client leaves before an unstreamed answer", async () => {
  const { post, pool } = testApp({ reply: () => "x".repeat(500), tokenDelayMs: 2 });
  const client = new AbortController();
  const answer = post("/v1/chat/completions", { messages }, { signal: client.signal });
  await until(() => pool.load()[0].running === 1, "the generation runs");
  client.abort();
  assertEquals((await answer).status, 499);
  assertEquals(pool.cancelled, 1);
});

Deno.test("POST /v1/chat/completions sends comments while a stream is silent", async () => {
  const { post } = testApp({ reply, startDelayMs: 120 }, { pingMs: 20, acceptMs: 1 });
  const text = await (await post("/v1/chat/completions", { messages, stream: true })).text();
  const pings = text.split(": ping\n\n").length - 1;
  assertEquals(pings >= 2 && pings <= 8, true, `${pings} comments in 120 ms of silence`);
  assertEquals(text.endsWith("data: [DONE]\n\n"), true);
});

Deno.test("eventStreamResponse gathers no comments for a client that does not read", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  async function* events() {
    yield "data: 1\n\n";
    await promise;
  }
  const response = eventStreamResponse(events(), { pingMs: 4, onLeave: () => {} });
  const reader = response.body!.getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 100));
  resolve();
  let rest = 0;
  while (!(await reader.read()).done) rest++;
  assertLess(rest, 3);
});
