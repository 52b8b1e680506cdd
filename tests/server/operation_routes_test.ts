import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { defaultSurfaces } from "../../src/server/surfaces.ts";
import { testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

Deno.test("GET /v1/models lists the models, the default first", async () => {
  const { get } = testApp({ models: ["small", "large"] });
  const { object, data } = await (await get("/v1/models")).json();
  assertEquals(object, "list");
  assertEquals(data.map((m: { id: string }) => m.id), ["small", "large"]);
  assertEquals(data[0].object, "model");
  assertEquals(data[0].context_length, 4096);
});

Deno.test("GET /v1/models/{model} gives one, or a 404", async () => {
  const { get } = testApp({ models: ["small", "large"] });
  assertEquals((await (await get("/v1/models/large")).json()).id, "large");
  const missing = await get("/v1/models/huge");
  assertEquals(missing.status, 404);
  assertEquals((await missing.json()).error.code, "model_not_found");
});

Deno.test("POST /tokenize and POST /detokenize are inverse", async () => {
  const { post } = testApp();
  const { tokens, count, max_model_len } = await (await post("/tokenize", { prompt: "né 🐦" }))
    .json();
  assertEquals(tokens, [110, 233, 32, 0x1f426]);
  assertEquals(count, 4);
  assertEquals(max_model_len, 4096);
  assertEquals((await (await post("/detokenize", { tokens })).json()).prompt, "né 🐦");
});

Deno.test("GET /tokenizer_info says null where a model has no such token, and knows no other model", async () => {
  const { get } = testApp();
  const response = await get("/tokenizer_info?model=fake");
  assertEquals(await response.json(), {
    bos_token: null,
    eos_token: null,
    pad_token: null,
    chat_template: null,
    model_max_length: 4096,
  });
  assertEquals((await get("/tokenizer_info?model=other")).status, 404);
});

Deno.test("POST /detokenize names a token outside the vocabulary", async () => {
  const response = await testApp().post("/detokenize", { tokens: [1, 9_999_999] });
  assertEquals(response.status, 400);
  assertStringIncludes((await response.json()).error.message, "9999999");
});

Deno.test("GET /ready follows the engines, GET /health does not", async () => {
  const { get, pool } = testApp();
  const expected = {
    starting: [503, "starting"],
    ready: [200, "ready"],
    failed: [503, "degraded"],
  } as const;
  for (const [state, [status, word]] of Object.entries(expected)) {
    pool.state = state as keyof typeof expected;
    const response = await get("/ready");
    assertEquals(response.status, status);
    const body = await response.json();
    assertEquals(body.status, word);
    assertEquals(body.engines, [{ model: "fake", state }]);
    assertEquals(await (await get("/health")).json(), { status: "ok" });
  }
});

Deno.test("GET /metrics has queue, KV, prefix and latency series after a generation", async () => {
  const { get, post } = testApp({ reply: () => "four" });
  const prompt = "the long road ".repeat(20);
  for (let i = 0; i < 2; i++) await (await post("/v1/completions", { prompt })).body?.cancel();
  const response = await get("/metrics");
  assertMatch(response.headers.get("Content-Type") ?? "", /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  const value = (series: string) => {
    const line = text.split("\n").find((l) => l.startsWith(`${series} `));
    assert(line !== undefined, `${series} in\n${text}`);
    return Number(line.split(" ").at(-1));
  };
  assertEquals(value('sparrow_requests_waiting{model="fake",engine="0"}'), 0);
  assertEquals(value('sparrow_requests_running{model="fake",engine="0"}'), 0);
  assertEquals(value('sparrow_kv_pages{model="fake",engine="0"}'), 1024);
  assertEquals(value('sparrow_kv_usage_ratio{model="fake",engine="0"}'), 0);
  assertEquals(value('sparrow_prompt_tokens_total{model="fake",engine="0"}'), 560);
  assertEquals(value('sparrow_prefix_cache_hit_tokens_total{model="fake",engine="0"}'), 256);
  assertEquals(value('sparrow_generated_tokens_total{model="fake",engine="0"}'), 8);
  assertEquals(value('sparrow_time_to_first_token_seconds_count{model="fake"}'), 2);
  assertEquals(value('sparrow_time_per_output_token_seconds_count{model="fake"}'), 6);
  assertEquals(value('sparrow_generations_total{model="fake",outcome="stop"}'), 2);
  assertEquals(
    value('sparrow_http_requests_total{route="/v1/completions",method="POST",status="200"}'),
    2,
  );
  assert(value("sparrow_server_resident_memory_bytes") > 1e6);
});

Deno.test("HEAD says how long the answer to GET is, over HTTP too", async () => {
  const { app } = testApp();
  await using server = Deno.serve({ port: 0, onListen() {} }, app.fetch);
  for (const path of ["/metrics", "/v1/models", "/health", "/none"]) {
    const url = `http://localhost:${server.addr.port}${path}`;
    const head = await fetch(url, { method: "HEAD" });
    const length = Number(head.headers.get("Content-Length"));
    const body = (await (await fetch(url)).bytes()).length;
    // Counters grow by their own requests, and error texts name the method.
    assert(Math.abs(length - body) < 200 && length > 10, `${path}: ${length} of ${body}`);
  }
});

Deno.test("GET /metrics counts unknown paths as one route", async () => {
  const { get } = testApp();
  for (const path of ["/a", "/b/c"]) await (await get(path)).body?.cancel();
  assertStringIncludes(
    await (await get("/metrics")).text(),
    'sparrow_http_requests_total{route="other",method="GET",status="404"} 2',
  );
});

Deno.test("GET /metrics counts unknown methods as one", async () => {
  const { app, get } = testApp();
  for (const method of ["BREW", "WHEN"]) {
    await app.fetch(new Request("http://localhost/health", { method }));
  }
  assertStringIncludes(
    await (await get("/metrics")).text(),
    'sparrow_http_requests_total{route="other",method="other",status="405"} 2',
  );
});

Deno.test("GET /openapi.json describes every route in OpenAPI 3.1, with schemas that resolve", async () => {
  const { get, app } = testApp({}, {}, defaultSurfaces());
  const document = await (await get("/openapi.json")).json();
  await app.shutdown(0);
  assertEquals(document.openapi, "3.1.0");
  type Posted = { post?: { requestBody?: { required?: boolean } } };
  type Operation = { operationId: string; responses: Record<string, object> };
  const operations = Object.entries(document.paths as Record<string, Record<string, Operation>>)
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId, responses }]) => ({
        route: `${method} ${path}`,
        operationId,
        responses,
      }))
    );
  const routes = operations.map(({ route }) => route);
  for (
    const route of [
      "get /v1/models",
      "get /v1/models/{model}",
      "post /v1/chat/completions",
      "post /v1/completions",
      "post /tokenize",
      "post /detokenize",
      "get /tokenizer_info",
      "get /health",
      "get /ready",
      "get /metrics",
    ]
  ) assert(routes.includes(route), `${route} among ${routes}`);
  const names = new Set(operations.map(({ operationId }) => operationId));
  assert(names.has("postV1ChatCompletions") && names.size === operations.length, [...names].join());
  for (const { route, responses } of operations) {
    const statuses = route.endsWith("completions") ? ["403", "415"] : [];
    for (const status of statuses) assert(status in responses, `${status} of ${route}`);
    if ("200" in responses) assert("content" in responses["200"], route);
  }
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    assert(name in document.components.schemas, `schema ${name}`);
  }
  const chat = document.components.schemas.ChatCompletionRequest;
  assertEquals(chat.required, ["messages"]);
  assertEquals(chat.properties.temperature.maximum, 2);
  // Generated clients send no body where one may be absent.
  for (const [path, { post }] of Object.entries(document.paths as Record<string, Posted>)) {
    if (post?.requestBody) assertEquals([path, post.requestBody.required], [path, true]);
  }
  const items = document.paths["/v1/responses/{id}/input_items"].get.parameters;
  const { schema } = items.find(({ name }: { name: string }) => name === "limit");
  assertEquals([schema.minimum, schema.maximum], [1, 100]);
});

Deno.test("shutdown refuses new work, waits for the running, and resolves to none cancelled", async () => {
  const { app, post, get, pool } = testApp({ reply: () => "some words", tokenDelayMs: 3 });
  const running = post("/v1/completions", { prompt: "x" });
  await until(() => pool.load()[0].running === 1, "the generation runs");
  const stopping = app.shutdown(5000);
  const refused = await post("/v1/completions", { prompt: "x" });
  assertEquals(refused.status, 503);
  assert(refused.headers.has("Retry-After"));
  assertEquals((await refused.json()).error.code, "shutting_down");
  const ready = await get("/ready");
  assertEquals([ready.status, (await ready.json()).status], [503, "stopping"]);
  assertEquals((await (await running).json()).choices[0].text, "some words");
  assertEquals(await stopping, 0);
});

Deno.test("shutdown cancels at the deadline and tells the clients", async () => {
  const { app, post, pool } = testApp({ reply: () => "x".repeat(999), tokenDelayMs: 3 });
  const limit = { prompt: "x", max_tokens: 999 };
  const whole = post("/v1/completions", limit);
  const stream = await post("/v1/completions", { ...limit, stream: true });
  await until(() => pool.load()[0].running === 2, "both run");
  const events = stream.text();
  assertEquals(await app.shutdown(30), 2);
  const answer = await whole;
  assertEquals(answer.status, 503);
  assertEquals((await answer.json()).error.code, "cancelled");
  assertStringIncludes(await events, "shutting down");
});

Deno.test("shutdown waits for the running when its deadline is longer than timers count", async () => {
  for (const deadlineMs of [3_000_000_000, Infinity]) {
    const { app, post, pool } = testApp({ reply: () => "some words", tokenDelayMs: 10 });
    const running = post("/v1/completions", { prompt: "x" });
    await until(() => pool.load()[0].running === 1, "the generation runs");
    assertEquals(await app.shutdown(deadlineMs), 0);
    assertEquals((await (await running).json()).choices[0].text, "some words");
  }
});
