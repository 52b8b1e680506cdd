import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  CancelledError,
  CapacityError,
  ConstraintError,
  DeviceLostError,
  ModelFormatError,
  OutOfMemoryError,
} from "../../src/common/errors.ts";
import { exitCodeOf, fromAnyError, fromEngineError } from "../../src/server/error_map.ts";
import { ApiError } from "../../src/server/api_error.ts";
import { parrotSurface } from "../../src/server/parrot_surface.ts";
import { readEvents, testApp } from "../support/test_app.ts";

const prompt = "hello";

Deno.test("an unknown model is a 404 that lists the known ones", async () => {
  const { post } = testApp({ models: ["small", "large"] });
  const response = await post("/v1/completions", { model: "gpt", prompt });
  assertEquals(response.status, 404);
  const { error } = await response.json();
  assertEquals(error.code, "model_not_found");
  assertEquals(error.param, "model");
  assertStringIncludes(error.message, "small, large");
});

Deno.test("an over-long prompt is a 400 with both counts, streamed or not", async () => {
  const { post } = testApp({ contextLength: 10 });
  for (const stream of [false, true]) {
    const response = await post("/v1/completions", { prompt: "x".repeat(12), stream });
    assertEquals(response.status, 400);
    const { error } = await response.json();
    assertEquals([error.code, error.param], ["context_length_exceeded", "prompt"]);
    assertStringIncludes(error.message, "12");
    assertStringIncludes(error.message, "10");
  }
});

Deno.test("an over-long chat names its messages, and is told of as OpenAI tells of one", async () => {
  const { post } = testApp({ contextLength: 30 });
  const messages = [{ role: "user", content: "x".repeat(40) }];
  const response = await post("/v1/chat/completions", { messages });
  const { error } = await response.json();
  assertEquals([error.code, error.param], ["context_length_exceeded", "messages"]);
  const long = await post("/v1/completions", { prompt: Array(30).fill(65) });
  assertStringIncludes(
    (await long.json()).error.message,
    "this model's maximum context length is 30 tokens",
  );
});

Deno.test("a prompt that cannot fit is refused before it reaches the engine", async () => {
  const { post, pool } = testApp({ contextLength: 10 });
  const cases: [string, unknown, string][] = [
    ["/v1/completions", { prompt: "x".repeat(1280) }, "1280 characters"],
    ["/v1/completions", { prompt: Array(10).fill(65) }, "10 tokens"],
    [
      "/v1/chat/completions",
      { messages: [{ role: "user", content: "x".repeat(1300) }] },
      "1300 characters",
    ],
  ];
  for (const [path, body, met] of cases) {
    const response = await post(path, body);
    assertEquals(response.status, 400);
    const { error } = await response.json();
    assertEquals(error.code, "context_length_exceeded");
    assertStringIncludes(error.message, met);
    assertStringIncludes(error.message, "at most 9");
  }
  assertEquals(pool.requests.length, 0);
});

Deno.test("a full queue is a 429 with Retry-After", async () => {
  const { post } = testApp({ maxRunning: 1, maxQueue: 1, tokenDelayMs: 5 });
  const held = [0, 1].map(() => post("/v1/completions", { prompt }));
  await Promise.resolve();
  const response = await post("/v1/completions", { prompt });
  assertEquals(response.status, 429);
  assertEquals(response.headers.get("Retry-After"), "2");
  assertEquals((await response.json()).error.code, "queue_full");
  for (const answer of held) assertEquals((await (await answer).json()).object, "text_completion");
});

Deno.test("a lost device is a 503 before the first token, and an event after it", async () => {
  const lost = () => new DeviceLostError("the engine's host ended with signal 9");
  const before = testApp({ failure: { afterTokens: 0, error: lost() } });
  const answer = await before.post("/v1/completions", { prompt });
  assertEquals(answer.status, 503);
  assert(answer.headers.has("Retry-After"));
  await answer.body?.cancel();

  const after = testApp({ failure: { afterTokens: 3, error: lost() } });
  const stream = await after.post("/v1/completions", { prompt, stream: true });
  assertEquals(stream.status, 200);
  const events = await readEvents(stream);
  assertEquals(events.length, 4);
  assertEquals(events.at(-1).error.code, "device_lost");
  assertStringIncludes(events.at(-1).error.message, "signal 9");
});

Deno.test("an unforeseen error hides its text and names the request", async () => {
  const { post } = testApp({ failure: { afterTokens: 0, error: new Error("secret path") } });
  const response = await post("/v1/completions", { prompt }, {
    headers: { "X-Request-Id": "abc123" },
  });
  assertEquals(response.status, 500);
  assertEquals(response.headers.get("X-Request-Id"), "abc123");
  const { error } = await response.json();
  assertEquals(error.message.includes("secret"), false);
  assertStringIncludes(error.message, "abc123");
});

Deno.test("a constraint that only the engine can refuse is the fault of its field", async () => {
  const { post } = testApp({ failure: { afterTokens: 0, error: new ConstraintError("no") } });
  const format = { type: "json_object" };
  const messages = [{ role: "user", content: "hello" }];
  const tools = [{ type: "function", function: { name: "f" } }];
  const cases: [string, Record<string, unknown>, string][] = [
    ["/v1/completions", { prompt, response_format: format }, "response_format"],
    ["/v1/completions", { prompt, structured_outputs: { regex: "a" } }, "structured_outputs"],
    ["/v1/chat/completions", { messages, response_format: format }, "response_format"],
    ["/v1/chat/completions", { messages, response_format: format, tools }, "tools"],
  ];
  for (const [path, body, param] of cases) {
    const { error } = await (await post(path, body)).json();
    assertEquals([error.code, error.param], ["invalid_constraint", param]);
  }
});

Deno.test("of many faults of a request the first are told, and how many more there are", async () => {
  const { post } = testApp();
  const body = { messages: Array.from({ length: 100 }, () => ({ role: "x", content: "" })) };
  const { error } = await (await post("/v1/chat/completions", body)).json();
  assertEquals(error.param, "messages.0.role");
  assert(error.message.includes("messages.9.role") && !error.message.includes("messages.10.role"));
  assert(error.message.endsWith("; 90 more"));
});

Deno.test("of a long list at fault the first fault is told, in few words and soon", async () => {
  const { post, app } = testApp({}, {}, [parrotSurface()]);
  const long = (element: unknown, length = 130_000) => Array(length).fill(element);
  const keyed = (value: unknown, length = 130_000) =>
    Object.fromEntries(Array.from({ length }, (_, i) => [i, value]));
  // As many as a session has room for: of more, their number is told.
  const room = 50_000;
  const message = { role: "user", content: "x" };
  const { session_id } = await (await post("/v1/session", {})).json();
  const cases: [string, Record<string, unknown>, string][] = [
    ["/v1/chat/completions", { messages: long({ role: 1 }) }, "messages.0.role: "],
    ["/v1/chat/completions", { messages: [message, ...long(1)] }, "messages.1: "],
    ["/v1/chat/completions", {
      messages: [{ role: "user", content: long(1) }],
    }, "messages.0.content: expected a string or an array of text parts"],
    ["/v1/chat/completions", {
      messages: [{ role: "assistant", tool_calls: long(1) }],
    }, "messages.0.tool_calls.0: "],
    ["/v1/completions", { prompt: "x", logit_bias: keyed("x") }, "logit_bias.0: "],
    ["/v1/completions", {
      prompt: "x",
      structured_outputs: { choice: long(1, 60_000) },
    }, "structured_outputs.choice.0: "],
    ["/v1/completions", { prompt: "x", sparrow: keyed(1) }, "sparrow: Unrecognized keys"],
    ["/v1/completions", { prompt: "x", model: "m".repeat(1e6) }, 'model "mmm'],
    ["/v1/responses", { input: "x", metadata: keyed(1) }, "metadata.0: "],
    ["/v1/responses", { input: "x", include: long(1) }, "include.0: "],
    ["/v1/responses", { input: [{ role: "user", content: long(1) }] }, "input.0.content: "],
    ["/v1/chat/completions", {
      messages: [message],
      tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: long(1) } },
    }, "tool_choice: "],
    ["/v1/responses", {
      input: "x",
      tool_choice: { type: "allowed_tools", mode: "auto", tools: long(1) },
    }, "tool_choice: "],
    ["/v1/apps", { variables: long({}, room) }, "variables.0.ref: "],
    ["/v1/apps", { calls: long(1, room) }, "calls.0: "],
    ["/v1/apps", { outputs: keyed(1, room) }, "outputs.0: "],
    ["/v1/apps", { calls: [{ template: "x", parameters: long({}, room) }] }, "parameters.0.name: "],
    [
      "/v1/semantic_call",
      { session_id, template: "x", parameters: long({}, room) },
      "parameters.0.name",
    ],
    ["/v1/semantic_call", {
      session_id,
      template: "x",
      parameters: [],
      models: long(1),
    }, "models.0: expected string, received number (got 1)"],
  ];
  for (const [path, body, words] of cases) {
    const response = await post(path, body);
    const text = await response.text();
    assert([400, 404].includes(response.status), `${path} ${words}: ${text.slice(0, 200)}`);
    assert(text.length < 8_000, `${path} ${words}: ${text.length} characters`);
    const { error } = JSON.parse(text);
    assertStringIncludes(error.message ?? error, words);
    assert(!/\d more$/.test(error.message ?? error), `${path} ${words}: more than one fault`);
  }
  await app.shutdown(0);
});

Deno.test("every answer says which request it is of", async () => {
  const { get, post, app } = testApp({}, {}, [parrotSurface()]);
  const headers = { "X-Request-Id": "abc-123" };
  const whole = { prompt, max_tokens: 2 };
  const messages = [{ role: "user", content: "hello" }];
  const answers = {
    completion: await post("/v1/completions", whole, { headers }),
    stream: await post("/v1/completions", { ...whole, stream: true }, { headers }),
    chat: await post("/v1/chat/completions", { messages }, { headers }),
    session: await post("/v1/session", {}, { headers }),
    models: await get("/v1/models", headers),
    page: await get("/", headers),
    unknown: await get("/v1/nothing", headers),
    method: await get("/v1/completions", headers),
    invalid: await post("/v1/completions", "{", { headers }),
  };
  for (const [name, answer] of Object.entries(answers)) {
    assertEquals(answer.headers.get("X-Request-Id"), "abc-123", name);
    await answer.body?.cancel();
  }
  const own = await post("/v1/completions", whole);
  assert(own.headers.get("X-Request-Id"));
  await own.body?.cancel();
  await app.shutdown(0);
});

Deno.test("malformed JSON, another content type, an unknown route and a large body have OpenAI's shape", async () => {
  const { post, get } = testApp({}, { maxBodyBytes: 100 });
  const cases: [Response, number][] = [
    [await post("/v1/completions", "{"), 400],
    [await post("/v1/completions", "{}", { headers: { "Content-Type": "text/plain" } }), 415],
    [await get("/v1/nothing"), 404],
    [await post("/v1/completions", { prompt: "x".repeat(200) }), 413],
  ];
  for (const [response, status] of cases) {
    assertEquals(response.status, status);
    const { error } = await response.json();
    assertEquals(error.type, "invalid_request_error");
    assertEquals(typeof error.message, "string");
  }
});

Deno.test("a body that is no JSON, or is compressed, is told of in words that say why", async () => {
  const { post } = testApp();
  const gzip = { "Content-Encoding": "gzip" };
  const cases: [string, Record<string, string>, number, string][] = [
    ["", {}, 400, "body: nothing, expected JSON"],
    ['{"prompt": "x", "max_tokens": NaN}', {}, 400, "Unexpected token 'N'"],
    ['{"prompt": "x" "n": 1}', {}, 400, "position 15"],
    ['{"prompt": "x"}', gzip, 415, "Content-Encoding is gzip, expected a body"],
  ];
  for (const [body, headers, status, words] of cases) {
    const response = await post("/v1/completions", body, { headers });
    assertEquals(response.status, status, body);
    const { error } = await response.json();
    assertStringIncludes(error.message, words);
  }
});

Deno.test("a path that takes other methods says which", async () => {
  const { app } = testApp({}, {}, [parrotSurface()]);
  for (
    const [method, path, allow] of [
      ["GET", "/v1/completions", "POST"],
      ["DELETE", "/v1/models/fake", "GET, HEAD"],
      ["PUT", "/v1/apps", "POST"],
      ["POST", "/docs", "GET, HEAD"],
      ["POST", "/web/base.css", "GET, HEAD"],
    ]
  ) {
    const response = await app.fetch(new Request(`http://localhost${path}`, { method }));
    assertEquals([response.status, response.headers.get("Allow")], [405, allow], path);
    const { error } = await response.json();
    assertEquals([error.type, error.code], ["invalid_request_error", "method_not_allowed"]);
  }
});

Deno.test("a file that is not there is a 404, whatever its path", async () => {
  const { app, get } = testApp();
  const paths = ["none.js", "", "index.html/x", "a".repeat(300), "..%2f..%2fdeno.json", "a%00.js"];
  for (const path of paths) {
    for (const method of ["GET", "HEAD"]) {
      const response = await app.fetch(new Request(`http://localhost/web/${path}`, { method }));
      assertEquals(response.status, 404, path);
      await response.body?.cancel();
    }
  }
  const page = await get("/web/base.css");
  assertEquals(page.status, 200);
  await page.body?.cancel();
});

Deno.test("a body of another content type is told which header to send, on every route that takes JSON", async () => {
  const { app, post } = testApp({}, {}, [parrotSurface()]);
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  for (const path of ["/v1/completions", "/v1/chat/completions", "/tokenize", "/v1/apps"]) {
    const response = await post(path, '{"prompt":"x"}', { headers });
    assertEquals(response.status, 415, path);
    const { error } = await response.json();
    assertStringIncludes(error.message, "application/x-www-form-urlencoded");
    assertStringIncludes(error.message, "Content-Type: application/json (curl: --json");
  }
  await app.shutdown();
});

Deno.test("fromEngineError and fromAnyError map every class, built-in ones only from the engine", () => {
  const statuses: [Error, number, number | undefined][] = [
    [new CapacityError("full"), 429, 429],
    [new DeviceLostError("gone"), 503, 503],
    [new OutOfMemoryError("full"), 503, 503],
    [new CancelledError("stop"), 503, 503],
    [new ModelFormatError("bad"), 500, 500],
    [new RangeError("long"), 400, undefined],
    [new TypeError("odd"), 400, undefined],
  ];
  for (const [error, engine, any] of statuses) {
    assertEquals((fromEngineError(error) as ApiError).status, engine);
    assertEquals(fromAnyError(error)?.status, any);
  }
  const empty = fromEngineError(new TypeError("prompt has 0 tokens"), {
    prompt: "prompt",
    constraint: "tools",
  }) as ApiError;
  assertEquals([empty.code, empty.param], ["invalid_prompt", "prompt"]);
  const full = fromEngineError(new CapacityError("full"), { prompt: "prompt" }) as ApiError;
  assertEquals(full.param, undefined);
  const own = ApiError.invalid("x");
  assertEquals(fromEngineError(own), own);
  const other = new Error("bug");
  assertEquals(fromEngineError(other), other);
});

Deno.test("exitCodeOf tells kinds of failure apart", () => {
  assertEquals(exitCodeOf(new ModelFormatError("x")), 3);
  assertEquals(exitCodeOf(new DeviceLostError("x")), 4);
  assertEquals(exitCodeOf(new CapacityError("x")), 5);
  assertEquals(exitCodeOf(new CancelledError("x")), 130);
  assertEquals(exitCodeOf(new Error("x")), 1);
});
