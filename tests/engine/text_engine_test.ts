import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CancelledError, ModelFormatError } from "../../src/common/errors.ts";
import { Engine } from "../../src/engine/engine.ts";
import { LocalEnginePool } from "../../src/engine/local_engine_pool.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { TextEngine, type TextEngineOptions } from "../../src/engine/text_engine.ts";
import {
  FakeCodec,
  type FakeModelOptions,
  fakeVocabulary,
  openFakeModel,
} from "../support/fake_model.ts";
import { expectedTokens } from "../support/fake_runner.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { until } from "../support/until.ts";

async function openFake(options: FakeModelOptions = {}): Promise<TextEngine> {
  return TextEngine.over(new LocalEnginePool(await Engine.open(() => openFakeModel(options))));
}

function expected(text: string, count: number, sampling = greedy): string {
  const codec = new FakeCodec();
  return codec.decode(expectedTokens(codec.encode(text), count, sampling, fakeVocabulary));
}

Deno.test("TextEngine.complete takes text, a chat, and parts of text and tokens", async () => {
  await using engine = await openFake();
  const ids = await engine.tokenize("hello");
  const text = await engine.complete("hello", { maxTokens: 9 });
  assertEquals(text.text, expected("hello", 9));
  assertEquals(await engine.detokenize(text.ids), text.text);
  assertEquals([text.reason, text.usage.completionTokens], ["length", 9]);
  const parts = await engine.complete([{ type: "tokens", ids }, { type: "text", text: " you" }], {
    maxTokens: 9,
  });
  assertEquals(parts.text, expected("hello you", 9));
  const chat = await engine.complete([{ role: "user", content: "hello" }], { maxTokens: 9 });
  assertEquals(chat.text, expected("hello\n", 9));
});

Deno.test("TextEngine.generate refuses at once what is no prompt", async () => {
  await using engine = await openFake();
  const none = [
    { messages: [{ role: "user", content: "x" }] },
    [1, 2, 3],
    [null],
    ["x"],
    [{ role: "user" }],
    [{ role: "user", content: 5 }],
    [{ type: "image" }],
    [{ type: "text" }],
    [{ type: "tokens", ids: 5 }],
    undefined,
  ];
  for (const prompt of none) {
    const wrong = prompt as unknown as string;
    assertThrows(() => engine.generate(wrong), TypeError, "expected a text, messages with a role");
  }
});

Deno.test("TextEngine.complete echoes prompts of any length", async () => {
  const sizes = { contextLength: 2 ** 18, pagesTotal: 2 ** 12, maxBatchTokens: 2 ** 18 };
  await using engine = await openFake(sizes);
  const ids = new Array<number>(200_000).fill(0);
  const { prompt } = await engine.complete([{ type: "tokens", ids }], { maxTokens: 0, echo: true });
  assertEquals([prompt?.ids.length, prompt?.text.length], [ids.length, ids.length]);
});

Deno.test("TextEngine.generate is greedy unless told otherwise, and a seed decides the text", async () => {
  await using engine = await openFake();
  const sampling = { ...greedy, temperature: 0.7, seed: 3 };
  const sampled = await engine.complete("hello", { maxTokens: 20, temperature: 0.7, seed: 3 });
  assertEquals(sampled.text, expected("hello", 20, sampling));
  assert(sampled.text !== expected("hello", 20));
});

Deno.test("TextEngine stops at an abort signal, before and while it generates", async () => {
  await using engine = await openFake({ stepMs: 1 });
  const reason = new Error("enough");
  assertThrows(() => engine.generate("a", { signal: AbortSignal.abort(reason) }), Error, "enough");
  const controller = new AbortController();
  let last = "";
  for await (const event of engine.generate("a", { maxTokens: 900, signal: controller.signal })) {
    if (event.type === "delta") controller.abort();
    if (event.type === "finished") last = event.reason;
  }
  assertEquals(last, "cancelled");
  const again = new AbortController();
  const timer = setTimeout(() => again.abort(), 10);
  const { cause } = await assertRejects(
    () => engine.complete("a", { maxTokens: 900, signal: again.signal }),
    CancelledError,
  );
  assertEquals(cause, again.signal.reason);
  clearTimeout(timer);
  // The step in flight holds the pages until it is read.
  await engine.complete("a", { maxTokens: 1 });
  assertEquals(engine.load().pagesUsed, 0);
});

Deno.test("TextEngine's pool knows one model and answers about its cache", async () => {
  const pool = new LocalEnginePool(await Engine.open(() => openFakeModel()));
  await using _ = pool;
  await assertRejects(() => pool.tokenize("a", { model: "other" }), TypeError, 'no model "other"');
  const prompt = { type: "parts" as const, parts: [] };
  assertThrows(
    () => pool.submit({ id: "x", model: "other", prompt, sampling: greedy }),
    TypeError,
    "expected fake",
  );
  await assertRejects(
    async () => {
      for await (const _ of pool.submit({ id: "x", prompt, sampling: greedy }));
    },
    TypeError,
    "prompt has 0 tokens",
  );
  assertEquals(await pool.cachedPrefix([1, 2, 3]), 0);
});

const model = new URL("../golden/models/tiny_llama_q8_0.gguf", import.meta.url);

gpuTest(
  "TextEngine gives the same text in the caller's isolate and in a Worker, alone and batched",
  async () => {
    const texts: string[] = [];
    for (const isolate of ["own", "worker"] as const) {
      await using engine = await TextEngine.open({ model, isolate, maxSequences: 4 });
      assertEquals([engine.info.id, engine.info.architecture], ["tiny_llama_q8_0", "llama"]);
      const options = { maxTokens: 24, ignoreEos: true };
      texts.push((await engine.complete("Once upon a time", options)).text);
      const batched = await Promise.all(
        ["Once upon a time", "Once upon a hill", "The end", "Once upon a time"].map((prompt) =>
          engine.complete(prompt, options)
        ),
      );
      texts.push(batched[0].text, batched[3].text);
      assertEquals(batched.map(({ ids }) => ids.length), [24, 24, 24, 24]);
      // The last step in flight gives its pages back after the texts.
      await until(() => engine.load().pagesUsed === 0, "pages come back");
    }
    assertEquals(new Set(texts).size, 1);
  },
);

gpuTest("TextEngine keeps all tokens where topK is more than 32 bits hold", async () => {
  await using engine = await TextEngine.open({ model, isolate: "own", maxSequences: 2 });
  const texts = [];
  for (const topK of [0, 2 ** 32 + 1, 1]) {
    const options = { maxTokens: 24, temperature: 1.5, seed: 3, topK };
    texts.push((await engine.complete("Once upon a time", options)).text);
  }
  assertEquals(texts[1], texts[0]);
  assert(texts[2] !== texts[0]);
});

Deno.test("TextEngine.open rejects without the file, and for a file that is no model, in every isolate", async () => {
  for (const isolate of ["own", "worker", "process"] as const) {
    await assertRejects(
      () => TextEngine.open({ model: "/nowhere/model.gguf", isolate }),
      Deno.errors.NotFound,
    );
    await assertRejects(
      () => TextEngine.open({ model: new URL(import.meta.url), isolate }),
      ModelFormatError,
      "GGUF",
    );
  }
});

Deno.test("TextEngine.open refuses options that there are not, in every isolate", async () => {
  const wrong: [Record<string, unknown>, typeof Error, string][] = [
    [{ model: undefined }, TypeError, "model is undefined, expected the path"],
    [{ isolate: "thread" }, TypeError, 'isolate is "thread", expected worker, own, process'],
    ...(["own", "worker"] as const).flatMap((isolate): [
      Record<string, unknown>,
      typeof Error,
      string,
    ][] => [
      [{ isolate, decode: { kind: "sparse" } }, TypeError, 'decode.kind is "sparse"'],
      [{ isolate, scheduler: { maxWaiting: -1 } }, RangeError, "maxWaiting is -1"],
    ]),
  ];
  for (const [options, type, message] of wrong) {
    const given = { model, ...options } as unknown as TextEngineOptions;
    await assertRejects(() => TextEngine.open(given), type, message);
  }
});

Deno.test("TextEngine.open refuses what are no options", async () => {
  for (const none of [undefined, null, "model.gguf"]) {
    await assertRejects(
      () => TextEngine.open(none as unknown as TextEngineOptions),
      TypeError,
      `expected options with a model, got ${none}`,
    );
  }
});

Deno.test("TextEngine.tokenize, detokenize and embed reject what is no text or list", async () => {
  await using engine = await openFake();
  const wrong = 5 as never;
  await assertRejects(() => engine.tokenize(wrong), TypeError, "expected a text, got 5");
  await assertRejects(() => engine.detokenize(wrong), TypeError, "expected an array of token ids");
  await assertRejects(() => engine.embed(wrong), TypeError, "a text or an array of texts, got 5");
});

Deno.test("TextEngine says that it was disposed of, not that a device was lost, which would come back", async () => {
  const engine = await openFake();
  await engine[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  assertThrows(() => engine.generate("abc"), TypeError, "was disposed of");
  for (
    const use of [
      () => engine.complete("abc"),
      () => engine.embed("abc"),
      () => engine.tokenize("abc"),
      () => engine.detokenize([1]),
    ]
  ) await assertRejects(use, TypeError, "was disposed of");
});
