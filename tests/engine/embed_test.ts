import { assert, assertEquals, assertRejects } from "@std/assert";
import { CancelledError, CapacityError, DeviceLostError } from "../../src/common/errors.ts";
import { Engine, type EngineOptions } from "../../src/engine/engine.ts";
import { HostedEnginePool } from "../../src/engine/engine_pool.ts";
import { LocalEnginePool } from "../../src/engine/local_engine_pool.ts";
import { noUsage } from "../../src/engine/no_usage.ts";
import { PooledText } from "../../src/engine/pooled_text.ts";
import { TextEmbedder } from "../../src/engine/text_embedder.ts";
import { TextEngine } from "../../src/engine/text_engine.ts";
import type { Prompt } from "../../src/engine/types.ts";
import { FakeCodec, type FakeModelOptions, openFakeModel } from "../support/fake_model.ts";
import { fakeModelModule } from "../support/fake_model_module.ts";
import { expectedEmbedding, type FakeRunner } from "../support/fake_runner.ts";
import { until } from "../support/until.ts";

const codec = new FakeCodec();
const long = "the quick brown fox jumps over the lazy dog, and over the fence. ".repeat(3);
const texts = [long, "a", long.slice(0, 150), "hello, world", long + "again", "where are we"];
const poolings = ["mean", "last", "first"] as const;

async function openFake(options: FakeModelOptions = {}, engine: EngineOptions = {}) {
  const opened = await openFakeModel({ pooling: "mean", ...options });
  const over = await TextEngine.over(
    new LocalEnginePool(await Engine.open(() => Promise.resolve(opened), engine)),
  );
  return Object.assign(over, { runner: opened.runner as FakeRunner });
}

Deno.test("TextEngine.embed pools the hidden states of every text, whatever runs beside it and is in the cache", async () => {
  for (const pooling of poolings) {
    await using engine = await openFake({
      pooling,
      maxBatchTokens: 40,
      maxSequences: 4,
      pagesTotal: 16,
    });
    const beside = engine.complete(long, { maxTokens: 60 });
    const expected = texts.map((text) => expectedEmbedding(codec.encode(text), pooling));
    // The second time keys and values of all of it are in the cache, and alone.
    for (const some of [texts, ...texts]) {
      const { vectors, usage } = await engine.embed(some);
      assertEquals(vectors, some === texts ? expected : [expected[texts.indexOf(some as string)]]);
      assertEquals(usage.promptTokens, codec.encode([some].flat().join("")).length);
    }
    assertEquals((await beside).ids.length, 60);
  }
});

Deno.test("TextEngine.embed gives the same vectors where texts have to give their pages up and begin again", async () => {
  for (const pooling of poolings) {
    await using engine = await openFake({
      pooling,
      maxBatchTokens: 20,
      maxSequences: 8,
      pagesTotal: 12,
      stepMs: 1,
    });
    const many = texts.flatMap((text) => [text, text + "b", text + text]);
    const bulk = engine.embed(many);
    for (let times = 0; times < 3; times++) {
      const { steps } = engine.load();
      await until(() => engine.load().steps > steps + 4, "steps");
      await engine.complete("x".repeat(500 + times), { maxTokens: 2 });
    }
    const expected = many.map((text) => expectedEmbedding(codec.encode(text), pooling));
    assertEquals((await bulk).vectors, expected);
    assert(engine.load().preemptions > 0);
  }
});

Deno.test("TextEngine.embed takes what texts begin with from the cache where only the last token is pooled", async () => {
  const computed = async (pooling: (typeof poolings)[number]) => {
    await using engine = await openFake({ pooling, pagesTotal: 64 });
    for (const end of ["x", "y", "z"]) await engine.embed(long + end);
    return engine.runner.positions;
  };
  assertEquals(await computed("mean"), 3 * (long.length + 1));
  assertEquals(await computed("last"), long.length + 3);
});

Deno.test("TextEngine.embed leaves prefixes in the cache for others, and nobody waits for what is not put there", async () => {
  await using engine = await openFake({ maxSequences: 2, pagesTotal: 16, maxBatchTokens: 512 });
  const chat = "x".repeat(300);
  await engine.complete(chat, { maxTokens: 1 });
  await engine.embed(Array.from({ length: 30 }, (_, i) => `${i} ${long}`));
  const { usage } = await engine.complete(chat, { maxTokens: 1 });
  assertEquals(usage.cachedTokens, 299);
  assertEquals(engine.load().pagesUsed, 0);
  // Both in one step: the second does not wait for the first one's pages.
  const { steps } = engine.load();
  await Promise.all([engine.embed(`a ${long}`), engine.complete(`a ${long}`, { maxTokens: 1 })]);
  assertEquals(engine.load().steps - steps, 1);
});

Deno.test("TextEngine.embed cuts vectors to the dimensions asked for and scales them", async () => {
  await using engine = await openFake({ pooling: "unsaid" });
  const { vectors: [vector] } = await engine.embed("hello", { dimensions: 3 });
  assertEquals(vector, expectedEmbedding(codec.encode("hello"), "mean", 3));
  for (const dimensions of [0, 5, 1.5, NaN]) {
    await assertRejects(
      () => engine.embed("hello", { dimensions }),
      TypeError,
      `dimensions is ${dimensions}, expected an integer from 1 to 4`,
    );
  }
});

Deno.test("TextEngine.embed takes token ids, texts as long as the context, and none", async () => {
  await using engine = await openFake({ contextLength: 100 });
  const ids = codec.encode("hello");
  assertEquals((await engine.embed([ids, "hello"])).vectors.map((vector) => [...vector]), [
    [...expectedEmbedding(ids, "mean")],
    [...expectedEmbedding(ids, "mean")],
  ]);
  assertEquals((await engine.embed("a".repeat(100))).usage.promptTokens, 100);
  assertEquals(await engine.embed([]), { vectors: [], usage: { promptTokens: 0 } });
});

Deno.test("TextEngine.embed says which text is at fault, and loses nothing", async () => {
  await using engine = await openFake({ contextLength: 100 });
  const refused: [unknown, typeof RangeError | typeof TypeError, string][] = [
    [
      "a".repeat(101),
      RangeError,
      "prompt has 101 tokens, this model's maximum context length is 100 tokens",
    ],
    [["a", "a".repeat(101)], RangeError, "text 1: prompt has 101 tokens"],
    [["a", "b", ""], TypeError, "text 2: prompt has 0 tokens, expected at least 1"],
    [["a", 7], TypeError, "embed: text 1 is 7, expected a text or an array of token ids"],
    [[1, 2, 3], TypeError, "embed: text 0 is 1, expected a text or an array of token ids"],
  ];
  for (const [input, Class, message] of refused) {
    await assertRejects(() => engine.embed(input as string[]), Class, message);
  }
  const { waiting, running, pagesUsed } = engine.load();
  assertEquals([waiting, running, pagesUsed], [0, 0, 0]);
  assertEquals((await engine.embed(["a", "b"])).vectors.length, 2);
});

Deno.test("TextEngine.embed is refused by models that give no embeddings", async () => {
  for (
    const [pooling, why] of [[undefined, ""], ["rank", ": fake.pooling_type of its file is 4"]]
  ) {
    await using engine = await openFake({ pooling: pooling as "rank" });
    await assertRejects(() => engine.embed("a"), TypeError, `fake gives no embeddings${why}`);
    assertEquals((await engine.complete("a", { maxTokens: 3 })).ids.length, 3);
  }
});

Deno.test("TextEngine.embed embeds more texts than may wait, and leaves others a place", async () => {
  const many = Array.from({ length: 300 }, (_, i) => `text number ${i}`);
  const expected = many.map((text) => expectedEmbedding(codec.encode(text), "mean"));
  for (const maxWaiting of [8, 256]) {
    await using engine = await openFake({ maxSequences: 2 }, { scheduler: { maxWaiting } });
    const bulk = engine.embed(many);
    const other = engine.embed("somebody else").then(() => "embedded", (error) => error.name);
    assertEquals(await other, maxWaiting === 8 ? "CapacityError" : "embedded");
    assertEquals((await bulk).vectors, expected);
  }
});

Deno.test("TextEngine.embed leaves others a place while several calls embed many texts, and serves these alike", async () => {
  await using engine = await openFake({ maxSequences: 2, stepMs: 1 }, {
    scheduler: { maxWaiting: 70 },
  });
  const ended: number[] = [];
  const bulk = [200, 100, 100, 100].map(async (count, call) => {
    await engine.embed(Array.from({ length: count }, (_, i) => `text number ${i}`));
    ended.push(call);
  });
  await until(() => engine.load().waiting > 60, "work of all");
  const { ids } = await engine.complete("hello", { maxTokens: 2 });
  assertEquals(ids.length, 2);
  await Promise.all(bulk);
  assertEquals(ended.at(-1), 0);
});

Deno.test("TextEmbedder goes on where others fill the queue once it has begun", async () => {
  let submitted = 0;
  const embedder = new TextEmbedder(({ id, prompt }) => {
    submitted++;
    if (submitted === 2 || submitted === 3) throw new CapacityError("full", 1);
    const vector = prompt.type === "parts" && prompt.parts[0].type === "text"
      ? prompt.parts[0].text
      : "";
    const usage = { ...noUsage, promptTokens: 1 };
    return {
      id,
      cancel: () => {},
      async *[Symbol.asyncIterator]() {
        yield { type: "embedding", vector };
        yield { type: "finished", reason: "length", usage };
      },
    };
  });
  const prompts = ["a", "b", "c"].map((text): Prompt => ({
    type: "parts",
    parts: [{ type: "text", text }],
  }));
  const embedded = await embedder.embed({ id: "x", prompts });
  assertEquals(embedded.map(({ vector }) => vector), ["a", "b", "c"]);
  assertEquals(submitted, 5);
});

Deno.test("TextEngine.embed of several texts lets a stream in between: it is throughput work", async () => {
  await using engine = await openFake({ maxSequences: 2, maxBatchTokens: 16, stepMs: 1 });
  const bulk = engine.embed(Array.from({ length: 20 }, () => long));
  let done = false;
  bulk.then(() => done = true);
  assertEquals((await engine.complete("hello", { maxTokens: 4 })).ids.length, 4);
  assertEquals((await engine.embed("hello")).vectors.length, 1);
  assert(!done);
  await bulk;
});

Deno.test("TextEngine.embed is cancelled by its signal and gives everything back", async () => {
  await using engine = await openFake({ stepMs: 2, maxBatchTokens: 16 });
  await assertRejects(
    () => engine.embed("a", { signal: AbortSignal.abort(new Error("before")) }),
    Error,
    "before",
  );
  const abort = new AbortController();
  const bulk = engine.embed(Array.from({ length: 200 }, () => long), { signal: abort.signal });
  await until(() => engine.load().running > 0, "work");
  abort.abort("enough");
  const error = await assertRejects(() => bulk, CancelledError, "the embedding was cancelled");
  assertEquals(error.cause, "enough");
  await until(
    () => engine.load().running + engine.load().waiting + engine.load().pagesUsed === 0,
    "rest",
  );
});

Deno.test("TextEngine.embed works in a Worker and a child process; a lost device runs it again, then fails it", async () => {
  for (const carrier of ["worker", "process"] as const) {
    const model = { pooling: "last", stepMs: 5, maxBatchTokens: 32 };
    await using engine = await TextEngine.over(
      new HostedEnginePool({
        models: [{ id: "fake", module: fakeModelModule, model }],
        carrier,
      }),
    );
    const { vectors } = await engine.embed(texts);
    assertEquals(vectors, texts.map((text) => expectedEmbedding(codec.encode(text), "last")));
  }
  await using engine = await openFake({ stepMs: 1 }, { reopenDelaysMs: [] });
  const bulk = engine.embed([long, long, long]);
  engine.runner.lost = true;
  await assertRejects(() => bulk, DeviceLostError, "fake device lost");
});

Deno.test("PooledText refuses hidden states that are not finite, and takes one computed twice once", () => {
  const pooled = new PooledText({ pooling: "mean", tokens: 3, width: 2 });
  pooled.add(0, [3, 0]);
  pooled.add(1, [0, 4]);
  assertEquals(pooled.needed(0, 3), { from: 2, to: 3 });
  assertEquals([...pooled.vector()], [3, 4].map((x) => Math.fround(x / 5)));
  pooled.add(2, [NaN, 0]);
  let thrown: unknown;
  try {
    pooled.vector();
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof Error && thrown.message.includes("the hidden states are not finite"));
  assertEquals([...new PooledText({ pooling: "mean", tokens: 1, width: 2 }).vector()], [0, 0]);
});
