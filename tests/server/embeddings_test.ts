import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { DeviceLostError } from "../../src/common/errors.ts";
import { HostedEnginePool } from "../../src/engine/engine_pool.ts";
import { vectorWire } from "../../src/engine/vector_wire.ts";
import { createApp } from "../../src/server/app.ts";
import type { AppOptions } from "../../src/server/options.ts";
import { FakeCodec, type FakeModelOptions } from "../support/fake_model.ts";
import { fakeModelModule } from "../support/fake_model_module.ts";
import { expectedEmbedding } from "../support/fake_runner.ts";
import { until } from "../support/until.ts";

const codec = new FakeCodec();
const expected = (text: string, dimensions?: number) =>
  expectedEmbedding(codec.encode(text), "mean", dimensions);

/** An application over an engine in a Worker whose model embeds texts in four dimensions. */
async function embeddingApp(
  model: FakeModelOptions = {},
  options: AppOptions & { maxWaiting?: number } = {},
) {
  const pool = new HostedEnginePool({
    models: [{
      id: "fake",
      module: fakeModelModule,
      model: { pooling: "mean", contextLength: 100, ...model },
    }],
    carrier: "worker",
    supervision: { maxWaiting: options.maxWaiting ?? 256 },
  });
  await pool.models();
  const app = createApp({ pool, options, surfaces: [] });
  const post = async (body: unknown, init: RequestInit = {}) =>
    await app.fetch(
      new Request("http://localhost/v1/embeddings", {
        method: "POST",
        body: JSON.stringify(body),
        ...init,
        headers: { "Content-Type": "application/json", ...init.headers },
      }),
    );
  const metrics = async () =>
    await (await app.fetch(new Request("http://localhost/metrics"))).text();
  return { pool, app, post, metrics, [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose]() };
}

Deno.test("POST /v1/embeddings answers a vector for each text or list of tokens, as numbers or base64", async () => {
  await using app = await embeddingApp();
  const { post, metrics } = app;
  const answer = await post({ model: "fake", input: "hello", user: "somebody" });
  assertEquals(answer.headers.get("Content-Type"), "application/json");
  assert(answer.headers.get("X-Request-Id"));
  assertEquals(await answer.json(), {
    object: "list",
    data: [{ object: "embedding", index: 0, embedding: [...expected("hello")] }],
    model: "fake",
    usage: { prompt_tokens: 5, total_tokens: 5 },
  });
  const texts = ["hello", "a", "the sparrow"];
  for (const input of [texts, texts.map((text) => codec.encode(text))]) {
    const body = await (await post({ input, encoding_format: "base64", dimensions: 3 })).json();
    assertEquals(body.data.map(({ index }: { index: number }) => index), [0, 1, 2]);
    assertEquals(
      body.data.map(({ embedding }: { embedding: string }) => vectorWire.decode(embedding)),
      texts.map((text) => expected(text, 3)),
    );
    assertEquals(body.usage.prompt_tokens, texts.join("").length);
  }
  const one = await (await post({ input: codec.encode("hello") })).json();
  assertEquals(one.data.map((each: { embedding: number[] }) => each.embedding), [[
    ...expected("hello"),
  ]]);
  const series = await metrics();
  assertStringIncludes(series, 'sparrow_generations_total{model="fake",outcome="embedded"} 8');
  assertStringIncludes(series, 'route="/v1/embeddings",method="POST",status="200"} 4');
});

Deno.test("POST /v1/embeddings serves OpenAI's client", async () => {
  await using app = await embeddingApp();
  const client = new OpenAI({
    baseURL: "http://localhost/v1",
    apiKey: "unused",
    fetch: async (url, init) => await app.app.fetch(new Request(url as string, init)),
  });
  // It asks for base64 by itself.
  for (const format of [undefined, "float"] as const) {
    const { data, usage } = await client.embeddings.create({
      model: "fake",
      input: ["hello", "the wood"],
      encoding_format: format,
    });
    assertEquals(data.map(({ embedding }) => [...embedding]), [
      [...expected("hello")],
      [...expected("the wood")],
    ]);
    assertEquals(usage, { prompt_tokens: 13, total_tokens: 13 });
  }
});

Deno.test("POST /v1/embeddings refuses what cannot be embedded, and says where it is", async () => {
  await using app = await embeddingApp();
  const refused: [
    body: unknown,
    status: number,
    code: string | null,
    param: string,
    text: string,
  ][] = [
    [{}, 400, null, "input", "expected a string, an array of token ids, or an array of 1 to 2048"],
    [{ input: [] }, 400, null, "input", "input: expected tokens, got none"],
    [{ input: [[1], []] }, 400, null, "input", "input.1: expected tokens, got none"],
    [{ input: Array(2049).fill("a") }, 400, null, "input", "an array of 1 to 2048"],
    [{ input: "" }, 400, "invalid_prompt", "input", "prompt has 0 tokens"],
    [{ input: ["a", ""] }, 400, "invalid_prompt", "input.1", "input.1: prompt has 0 tokens"],
    [{ input: [[1], [2, 999]] }, 400, null, "input", "input.1.1: token 999, expected less than"],
    [
      { input: ["a", "a".repeat(101)] },
      400,
      "context_length_exceeded",
      "input.1",
      "input.1: prompt has 101 tokens, this model's maximum context length is 100 tokens",
    ],
    [
      { input: "a".repeat(128 * 101) },
      400,
      "context_length_exceeded",
      "input",
      "input has 12928 characters, this model's maximum context length is 100 tokens",
    ],
    [{ input: "a", dimensions: 0 }, 400, null, "dimensions", "dimensions"],
    [
      { input: "a", dimensions: 5 },
      400,
      null,
      "dimensions",
      "dimensions: 5, expected at most the model's 4",
    ],
    [{ input: "a", encoding_format: "int8" }, 400, null, "encoding_format", "encoding_format"],
    [{ input: "a", truncate_prompt_tokens: 5 }, 400, null, "truncate_prompt_tokens", "read whole"],
    [{ input: "a", model: "gpt" }, 404, "model_not_found", "model", "served: fake"],
  ];
  for (const [body, status, code, param, text] of refused) {
    const answer = await app.post(body);
    const { error } = await answer.json();
    assertEquals([answer.status, error.param], [status, param], JSON.stringify(error));
    if (code) assertEquals(error.code, code);
    assertStringIncludes(error.message, text);
  }
  assertEquals((await app.post({ input: "a".repeat(100) })).status, 200);
});

Deno.test("POST /v1/embeddings asks for the key, and is refused when the queue is full or the server stops", async () => {
  await using app = await embeddingApp({ stepMs: 20, maxSequences: 1 }, {
    apiKeys: ["k"],
    maxWaiting: 2,
  });
  const key = { headers: { Authorization: "Bearer k" } };
  assertEquals((await app.post({ input: "a" })).status, 401);
  const bulk = app.post({ input: Array(20).fill("hello") }, key);
  await until(() => app.pool.load()[0].waiting === 2, "a full queue");
  const full = await app.post({ input: "a" }, key);
  assertEquals([full.status, (await full.json()).error.code], [429, "queue_full"]);
  assert(Number(full.headers.get("Retry-After")) >= 1);
  // One request may have more texts than the queue has places.
  assertEquals((await (await bulk).json()).data.length, 20);
  const cut = app.post({ input: Array(20).fill("hello") }, key);
  await until(() => app.pool.load()[0].waiting > 0, "work");
  await app.app.shutdown(0);
  const stopped = await cut;
  assertEquals([stopped.status, (await stopped.json()).error.code], [503, "cancelled"]);
  const late = await app.post({ input: "a" }, key);
  assertEquals([late.status, (await late.json()).error.code], [503, "shutting_down"]);
});

Deno.test("POST /v1/embeddings stops for a client that left, and tells of a lost device", async () => {
  await using app = await embeddingApp({ stepMs: 5, maxSequences: 1 });
  const client = new AbortController();
  const left = app.post({ input: Array(50).fill("hello") }, { signal: client.signal });
  await until(() => app.pool.load()[0].waiting > 0, "work");
  client.abort();
  assertEquals((await left).status, 499);
  await until(() => app.pool.load()[0].running + app.pool.load()[0].waiting === 0, "rest");
  const broken = createApp({
    pool: {
      ...bound(app.pool),
      submit: () => {
        throw new DeviceLostError("the GPU is gone");
      },
    },
    surfaces: [],
  });
  const answer = await broken.fetch(
    new Request("http://localhost/v1/embeddings", {
      method: "POST",
      body: JSON.stringify({ input: "a" }),
      headers: { "Content-Type": "application/json" },
    }),
  );
  assertEquals([answer.status, (await answer.json()).error.code], [503, "device_lost"]);
});

/** The methods of a pool, so that one can be replaced. */
function bound(pool: HostedEnginePool) {
  return {
    models: (id?: string) => pool.models(id),
    load: () => pool.load(),
    tokenize: (text: string) => pool.tokenize(text),
    detokenize: (ids: number[]) => pool.detokenize(ids),
    cachedPrefix: (ids: number[]) => pool.cachedPrefix(ids),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
}
