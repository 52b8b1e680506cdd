import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import type { GenerateRequest } from "../../src/engine/types.ts";
import { ResponseOutput } from "../../src/server/response_output.ts";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { responseTools as tools, writtenCall as call } from "../support/response_tools.ts";
import { testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

const path = "/v1/responses";

/** The events of a stream, each of which has to be named by its type and numbered in order. */
// deno-lint-ignore no-explicit-any -- tests look into JSON of any shape
async function eventsOf(response: Response): Promise<any[]> {
  const blocks = (await response.text()).split("\n\n").filter((block) => block.startsWith("event"));
  return blocks.map((block, i) => {
    const [name, data] = block.split("\n");
    const event = JSON.parse(data.slice("data: ".length));
    assertEquals([name, event.sequence_number], [`event: ${event.type}`, i]);
    return event;
  });
}

const chatOf = ({ prompt }: GenerateRequest) => prompt.type === "chat" ? prompt.messages : [];

Deno.test("a response has OpenAI's fields, whole and streamed alike", async () => {
  const { post } = testApp({ reply: () => "Good day." });
  const body = { input: "Hello", instructions: "Be kind.", metadata: { a: "b" } };
  const whole = await (await post(path, body)).json();
  const { id, created_at, timings, output: [{ id: item, ...message }], ...rest } = whole;
  assert(/^resp_\w{24}$/.test(id) && /^msg_\w{24}$/.test(item) && created_at > 1e9 && timings);
  const content = [{ type: "output_text", text: "Good day.", annotations: [], logprobs: [] }];
  assertEquals(message, { type: "message", role: "assistant", status: "completed", content });
  assertEquals(rest.usage.total_tokens, rest.usage.input_tokens + rest.usage.output_tokens);
  // OpenAI's clients have both numbers always.
  assertEquals(rest.usage.input_tokens_details, { cached_tokens: 0, cache_write_tokens: 0 });
  const { status, error, instructions, metadata, model, store } = rest;
  assertEquals([status, error, instructions, metadata, model, store], [
    "completed",
    null,
    "Be kind.",
    { a: "b" },
    "fake",
    true,
  ]);

  const bare = { type: "function", name: "a" };
  const named = await (await post(path, { ...body, tools: [bare, tools[0]] })).json();
  assertEquals(named.tools, [
    { ...bare, parameters: null, strict: null },
    { ...tools[0], strict: null },
  ]);

  const events = await eventsOf(await post(path, { ...body, stream: true }));
  const deltas = events.filter(({ type }) => type === "response.output_text.delta");
  assertEquals(deltas.map(({ delta }) => delta).join(""), "Good day.");
  const [first, last] = [events[0].response, events.at(-1).response];
  assertEquals([first.status, first.output, first.id], ["in_progress", [], last.id]);
  assertEquals(Object.keys(last).toSorted(), Object.keys(whole).toSorted());
  assertEquals(last.output[0].content, content);
  assertEquals(last.usage.output_tokens, whole.usage.output_tokens);
  assertEquals(events.filter((event) => !deltas.includes(event)).map(({ type }) => type), [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
  ]);
});

Deno.test("items become the chat that they stand for", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  const input = [
    { role: "developer", content: "Use tools." },
    { type: null, role: "user", content: [{ type: "input_text", text: "Time?" }] },
    { type: "reasoning", id: "rs_1", summary: [] },
    { id: "msg_1", role: "assistant", content: [{ type: "output_text", text: "Wait." }] },
    { type: "function_call", call_id: "c1", name: "get_time", arguments: '{"zone":"UTC"}' },
    { type: "function_call", call_id: "c2", name: "get_time", arguments: "", status: null },
    { type: "function_call_output", call_id: "c2", output: "noon" },
    { type: "function_call_output", call_id: "c1", output: [{ type: "input_text", text: "one" }] },
  ];
  const sampling = { temperature: 0.5, top_p: 0.9, seed: 3, max_output_tokens: 2 };
  const response = await post(path, { input, instructions: "First.", tools, ...sampling });
  assertEquals(response.status, 200, await response.text());
  const [request] = pool.requests;
  assertEquals(chatOf(request), [
    { role: "system", content: "First." },
    { role: "system", content: "Use tools." },
    { role: "user", content: "Time?" },
    {
      role: "assistant",
      content: "Wait.",
      toolCalls: [
        { id: "c1", name: "get_time", arguments: { zone: "UTC" } },
        { id: "c2", name: "get_time", arguments: {} },
      ],
    },
    { role: "tool", content: "noon", name: "get_time", toolCallId: "c2" },
    { role: "tool", content: "one", name: "get_time", toolCallId: "c1" },
  ]);
  assertEquals(request.constraint?.kind, "tool_calls");
  const { temperature, topP, seed } = request.sampling;
  assertEquals([temperature, topP, seed, request.maxTokens], [0.5, 0.9, 3, 2]);
});

Deno.test("calls are items of their own, whole and streamed, and a cut call says so", async () => {
  for (const canConstrain of [true, false]) {
    const { post } = testApp({ reply: () => `Wait.\n${call}`, canConstrain });
    const { output } = await (await post(path, { input: "Time?", tools })).json();
    const [message, item] = output;
    assertEquals([output.length, message.content[0].text], [2, "Wait."]);
    const { name, arguments: text, status } = item;
    assertEquals([name, JSON.parse(text), status], ["get_time", { zone: "UTC" }, "completed"]);
    assert(/^call_\w{24}$/.test(item.call_id) && /^fc_\w{24}$/.test(item.id));

    const events = await eventsOf(await post(path, { input: "Time?", tools, stream: true }));
    const of = (type: string) => events.filter((event) => event.type === `response.${type}`);
    const [added] = of("output_item.added").filter(({ item }) => item.type === "function_call");
    assertEquals([added.output_index, added.item.arguments, added.item.status], [
      1,
      "",
      "in_progress",
    ]);
    const deltas = of("function_call_arguments.delta");
    assertEquals(deltas.map(({ delta }) => delta).join(""), text);
    assert(deltas.every(({ item_id }) => item_id === added.item.id));
    assertEquals(of("function_call_arguments.done")[0].arguments, text);
    assertEquals(of("completed")[0].response.output[1].arguments, text);
  }
  const { post } = testApp({ reply: () => call });
  for (const [cut, status] of [[0, "completed"], [6, "completed"], [26, "incomplete"]] as const) {
    const max_output_tokens = call.length - cut;
    const body = { input: "Time?", tools, tool_choice: "required", max_output_tokens };
    const response = await (await post(path, body)).json();
    assertEquals(response.output[0].status, status, `${cut} characters cut`);
    const incomplete = cut > 0 ? "max_output_tokens" : undefined;
    assertEquals(response.incomplete_details?.reason, incomplete);
    assertEquals(response.status, cut > 0 ? "incomplete" : "completed");
  }
});

Deno.test("a call that cannot be sent back, cut by a stop string or nested too deep, is answered all the same", async () => {
  const nested = `${'{"a":'.repeat(101)}1${"}".repeat(101)}`;
  const deep = `<tool_call>\n{"name": "get_time", "arguments": ${nested}}\n</tool_call>`;
  for (const [reply, stop, status] of [[call, "TC", "incomplete"], [deep, "zzz", "completed"]]) {
    const { post, get, pool } = testApp({ reply: () => reply });
    const body = { input: "Time?", tools, tool_choice: "required", stop };
    const response = await post(path, body);
    const whole = await response.json();
    assertEquals([response.status, whole.status, whole.output[0].status], [
      200,
      "completed",
      status,
    ], JSON.stringify(whole).slice(0, 300));
    const last = (await eventsOf(await post(path, { ...body, stream: true }))).at(-1);
    assertEquals([last.type, last.response.output[0].status], ["response.completed", status]);
    assertEquals((await get(`${path}/${whole.id}`)).status, 200);
    const referred = await post(path, { input: [{ id: whole.output[0].id }] });
    assertEquals([referred.status, (await referred.json()).error.param], [400, "input.0.id"]);
    await post(path, { input: "Go on", previous_response_id: whole.id });
    assertEquals(chatOf(pool.requests.at(-1)!)[1], { role: "assistant", content: "" });
  }
});

Deno.test("a stored response is gone on with, by its id or its items', read and deleted", async () => {
  const { post, get, app, pool } = testApp({ reply: () => `Wait.\n${call}` });
  const ask = async (body: Record<string, unknown>) => await (await post(path, body)).json();
  const first = await ask({ input: "Time?", tools, instructions: "Once." });
  const [message, item] = first.output;
  const result = { type: "function_call_output", call_id: item.call_id, output: "noon" };
  const second = await ask({ input: [result], previous_response_id: first.id });
  const said = [
    { role: "user", content: "Time?" },
    {
      role: "assistant",
      content: "Wait.",
      toolCalls: [{ id: item.call_id, name: "get_time", arguments: { zone: "UTC" } }],
    },
    { role: "tool", content: "noon", name: "get_time", toolCallId: item.call_id },
  ];
  assertEquals(chatOf(pool.requests[1]), said);
  const references = [{ type: "item_reference", id: message.id }, { type: null, id: item.id }];
  await ask({ input: [{ role: "user", content: "Time?" }, ...references, result], store: false });
  assertEquals(chatOf(pool.requests[2]), said);

  assertEquals(await (await get(`${path}/${first.id}`)).json(), first);
  assertEquals((await get(`${path}/${first.id}?stream=false`)).status, 200);
  const streamed = await get(`${path}/${first.id}?stream=true`);
  assertEquals([streamed.status, (await streamed.json()).error.param], [400, "stream"]);
  const remove = (id = first.id) =>
    app.fetch(new Request(`http://localhost${path}/${id}`, { method: "DELETE" }));
  assertEquals(await (await remove()).json(), { id: first.id, object: "response", deleted: true });
  assertEquals([(await remove()).status, (await get(`${path}/${first.id}`)).status], [404, 404]);
  // What goes on with it holds its items, and lists them.
  const held = await post(path, { input: references, store: false });
  assertEquals([held.status, (await remove(second.id)).status], [200, 200]);
  for (
    const [body, param] of [
      [{ input: "x", previous_response_id: first.id }, "previous_response_id"],
      [{ input: references }, "input.0.id"],
    ] as const
  ) {
    const response = await post(path, body);
    assertEquals([response.status, (await response.json()).error.param], [400, param]);
  }
  const { id } = await ask({ input: "x", store: false });
  assertEquals((await get(`${path}/${id}`)).status, 404);
});

Deno.test("a stored response is its own key's, however prefixes are shared", async () => {
  const keys = ["first-key-of-16-characters", "second-key-of-16-characters"];
  const { post, get } = testApp({}, { apiKeys: keys, sharePrefixes: true });
  const [mine, theirs] = keys.map((key) => ({ Authorization: `Bearer ${key}` }));
  const { id, output } = await (await post(path, { input: "x" }, { headers: mine })).json();
  assertEquals((await get(`${path}/${id}`, mine)).status, 200);
  assertEquals((await get(`${path}/${id}`, theirs)).status, 404);
  for (
    const body of [{ input: "y", previous_response_id: id }, { input: [{ id: output[0].id }] }]
  ) {
    assertEquals((await post(path, body, { headers: theirs })).status, 400);
    assertEquals((await post(path, body, { headers: mine })).status, 200);
  }
});

Deno.test("what a response cannot keep is refused by the name of its own field", async () => {
  const { post, pool } = testApp({ contextLength: 100 });
  const user = { role: "user", content: "x" };
  const bare = { type: "function", name: "b" };
  const allowed = {
    type: "allowed_tools",
    mode: "auto",
    tools: [{ type: "function", name: "get_time" }],
  };
  const not = { type: "object", properties: { x: { not: {} } } };
  const cases: [Record<string, unknown>, string, string][] = [
    [{}, "input", "expected a text or an array of items"],
    [{ input: [] }, "input", "one or more items"],
    [{ input: [user, { type: "computer_call" }] }, "input.1.type", "expected one of message"],
    [
      { input: [{ role: "user", content: [{ type: "input_image" }] }] },
      "input.0.content",
      "text parts",
    ],
    [{ input: [{ role: "tool", content: "x" }] }, "input.0.role", '"developer"'],
    [
      { input: [{ type: "function_call", call_id: "a", name: "b", arguments: "[]" }] },
      "input.0.arguments",
      "JSON object",
    ],
    [
      { input: [{ type: "function_call_output", call_id: "a", output: "" }] },
      "input.0.call_id",
      "is no call before it",
    ],
    [{ input: [{ type: "reasoning" }] }, "input", "expected a message or a call"],
    [{ input: "x".repeat(20_000) }, "input", "maximum context length"],
    [{ input: "x", tools: [{ type: "web_search" }] }, "tools.0.type", "runs no tools"],
    [
      { input: "x", tools: [{ ...tools[0], parameters: not, strict: true }] },
      "tools.0.parameters",
      '"not" at',
    ],
    [{ input: "x", tools: [tools[0], tools[0]] }, "tools.1.name", "another tool's name"],
    [{ input: "x", tools, tool_choice: { type: "function", name: "b" } }, "tool_choice.name", "b"],
    [
      { input: "x", tools, tool_choice: { ...allowed, tools: [allowed.tools[0], { ...bare }] } },
      "tool_choice.tools.1.name",
      "b",
    ],
    [
      {
        input: "x",
        text: { format: { type: "json_schema", name: "a", schema: not, strict: true } },
      },
      "text.format",
      '"not" at',
    ],
    [{ input: "x", background: true, store: false }, "background", "needs store"],
    [{ input: "x", background: true, stream: true }, "stream", "only false"],
    [{ input: "x", max_tokens: 3 }, "max_tokens", "max_output_tokens"],
    [{ input: "x", conversation: "c" }, "conversation", "previous_response_id"],
  ];
  for (const [body, param, words] of cases) {
    const response = await post(path, body);
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, param], error.message);
    assertStringIncludes(error.message, words);
  }
  assertEquals(pool.requests, []);
  assertEquals((await post(path, { input: "x", model: "none" })).status, 404);
  const answer = await (await post(path, { input: "x", tools, tool_choice: allowed })).json();
  assertEquals(answer.tool_choice, allowed);
});

Deno.test("what a response repeats of a request and stores is of bounded depth", async () => {
  const { post, pool } = testApp({ reply: () => call });
  const schema = { type: "object", default: JSON.parse("[".repeat(20_000) + "]".repeat(20_000)) };
  const text = { format: { type: "json_schema", name: "a", schema } };
  for (const fields of [{}, { tools, tool_choice: "required" }, { stream: true }]) {
    const response = await post(path, { input: "x", text, ...fields });
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, "text.format.schema"]);
  }
  assertEquals(pool.requests, []);
});

Deno.test("of many items at fault the first is refused", async () => {
  const { post } = testApp();
  const response = await post(path, {
    input: [{ role: "user", content: "x" }, ...new Array(150_000).fill({})],
  });
  const text = await response.text();
  assertEquals([response.status, JSON.parse(text).error.param], [400, "input.1.role"]);
  assert(text.length < 1000, `${text.length} characters`);
});

Deno.test("the API's document has every kind of item with its fields", async () => {
  const { paths, components: { schemas } } = await (await testApp().get("/openapi.json")).json();
  const { schema: body } = paths[path].post.requestBody.content["application/json"];
  const { input } = schemas[body.$ref.split("/").at(-1)].properties;
  // deno-lint-ignore no-explicit-any -- JSON of any shape
  const kinds = schemas[input.items.$ref.split("/").at(-1)].anyOf.map(({ properties }: any) => [
    properties.type.enum[0],
    ...Object.keys(properties).filter((name) => name !== "type"),
  ]);
  assertEquals(kinds, [
    ["message", "role", "content"],
    ["function_call", "call_id", "name", "arguments"],
    ["function_call_output", "call_id", "output"],
    ["item_reference", "id"],
    ["reasoning"],
  ]);
});

Deno.test("many calls in a row are read in time that grows with their number alone", async () => {
  const { post } = testApp();
  const item = { type: "function_call", call_id: "c", name: "a", arguments: "" };
  const began = performance.now();
  const response = await post(path, { input: new Array(80_000).fill(item) });
  assertEquals((await response.json()).error.code, "context_length_exceeded");
  const ms = performance.now() - began;
  assert(ms < 6000, `${ms} ms`);
});

Deno.test("a text's form is the schema that it names", async () => {
  const { post, pool } = testApp({ reply: () => "{}" });
  const schema = { type: "object", properties: { a: { type: "boolean" } }, required: ["a"] };
  const cases: [unknown, GenerateRequest["constraint"]][] = [
    [{ type: "json_schema", name: "a", schema, strict: true }, { kind: "json_schema", schema }],
    [{ type: "json_object" }, { kind: "json_object" }],
    [{ type: "text" }, undefined],
  ];
  for (const [format, constraint] of cases) {
    assertEquals((await post(path, { input: "x", text: { format } })).status, 200);
    assertEquals(pool.requests.at(-1)!.constraint, constraint);
  }
});

Deno.test("log probabilities are the text's own, and asked for by either field", async () => {
  const { post, pool } = testApp();
  const include = ["message.output_text.logprobs", "reasoning.encrypted_content"];
  for (
    const [fields, logprobs] of [
      [{}, undefined],
      [{ include }, 0],
      [{ top_logprobs: 2 }, 2],
      [{ include, top_logprobs: 3 }, 3],
    ] as const
  ) {
    await post(path, { input: "x", ...fields });
    assertEquals(pool.requests.at(-1)!.logprobs, logprobs);
  }

  const output = new ResponseOutput({
    form: "hermes",
    names: new Set(["get_time"]),
    most: Infinity,
    constrained: true,
    required: false,
  });
  const top = [{ id: 1, token: "t", logprob: -2, bytes: null }];
  const events = ["Wa", "it", ".", "\n", ...call.match(/.{1,5}|\n/g)!].flatMap((text) =>
    output.push({
      text,
      logprobs: [{ id: 1, token: text, logprob: -1, bytes: null, offset: 0, top }],
    })
  );
  output.finish("stop");
  const [message] = output.items;
  assert(message.type === "message");
  const tokens = message.content[0].logprobs;
  assertEquals(tokens.map(({ token }) => token), ["Wa", "it", "."]);
  // OpenAI's clients have no null here.
  assertEquals(tokens[0].top_logprobs, [{ token: "t", logprob: -2, bytes: [] }]);
  const deltas = events.filter(({ type }) => type === "response.output_text.delta");
  assertEquals(deltas.flatMap(({ logprobs }) => logprobs as unknown[]), tokens);
});

Deno.test("a response that fails says so in its last event and is not stored; one whose client leaves ends", async () => {
  const failure = { afterTokens: 2, error: new Error("secret") };
  const { post, get } = testApp({ failure, tokenDelayMs: 2 });
  const events = await eventsOf(await post(path, { input: "x", stream: true }));
  const { type, response } = events.at(-1);
  assertEquals([type, response.status, response.error.code], [
    "response.failed",
    "failed",
    "internal",
  ]);
  assert(!JSON.stringify(events).includes("secret"));
  assertEquals((await get(`${path}/${response.id}`)).status, 404);

  const slow = testApp({ tokenDelayMs: 5, reply: () => "x".repeat(500) });
  const left = await slow.post(path, { input: "x", stream: true });
  await left.body!.cancel();
  await until(() => slow.pool.cancelled === 1, "the generation is cancelled");
});

Deno.test("OpenAI's client answers, streams, parses and goes on", async () => {
  const pool = new FakeEnginePool({ reply: () => '{"a":true}' });
  await using server = await serve({ pool, port: 0, parrotPort: 0 });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
  const first = await client.responses.create({ model: "fake", input: "Hello" });
  assertEquals(first.output_text, '{"a":true}');
  const stream = client.responses.stream({
    model: "fake",
    input: "More",
    previous_response_id: first.id,
  });
  assertEquals((await stream.finalResponse()).output_text, '{"a":true}');
  const schema = {
    type: "object",
    properties: { a: { type: "boolean" } },
    required: ["a"],
    additionalProperties: false,
  };
  const parsed = await client.responses.parse({
    model: "fake",
    input: "x",
    text: { format: { type: "json_schema", name: "answer", schema, strict: true } },
  });
  assertEquals(parsed.output_parsed, { a: true });
  assertEquals((await client.responses.retrieve(first.id)).output_text, '{"a":true}');
  const items = await Array.fromAsync(client.responses.inputItems.list(first.id, { limit: 1 }));
  assertEquals(items.map(({ type }) => type), ["message"]);
  await client.responses.delete(first.id);
  const background = { model: "fake", input: "x", background: true };
  const { id } = await client.responses.create(background);
  await until(
    async () => (await client.responses.retrieve(id)).output_text === '{"a":true}',
    "it is made",
  );
  assertEquals((await client.responses.cancel(id)).status, "completed");
});
