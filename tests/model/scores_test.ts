import { assert, assertEquals, assertRejects } from "@std/assert";
import { Engine } from "../../src/engine/engine.ts";
import { openModel } from "../../src/engine/open_model.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { type GenerateOptions, TextEngine } from "../../src/engine/text_engine.ts";
import type { GenerateEvent, ScoredToken } from "../../src/engine/types.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { likeliest, logSoftmax } from "../oracle/sampling.ts";
import { goldenPath, goldenPrompt } from "../support/golden_models.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const path = goldenPath("tiny_llama_q8_0");
const sizes = {
  contextLength: 256,
  maxSequences: 4,
  maxBatchTokens: 64,
  activations: "f32",
} as const;
const prompt = [{ type: "tokens" as const, ids: [...goldenPrompt] }];

let oracle: Promise<ModelUnderTest> | undefined;

/** Log probabilities of every token after each of `ids`, from the logits of one prefill. */
async function plain(ids: readonly number[]): Promise<Float64Array[]> {
  const under = await (oracle ??= Gpu.open().then((gpu) => ModelUnderTest.open(gpu, path, "f16")));
  const sequence = new TestSequence(0, [...Array(8).keys()]);
  const logits: Float32Array[] = [];
  for (let at = 0; at < ids.length; at += 64) {
    const rows = [sequence.prefill(ids.slice(at, at + 64))];
    logits.push(...under.step(rows, { everyRow: true }).logits);
  }
  return logits.map((row) => logSoftmax(row));
}

/** Compares what an engine says of `ids` from `start` on with the plain computation. */
async function check(
  ids: readonly number[],
  scored: readonly ScoredToken[],
  start: number,
  top: number,
) {
  const expected = await plain(ids.slice(0, -1));
  assertEquals(scored.map(({ id }) => id), ids.slice(start));
  scored.forEach(({ id, logprob, top: listed }, i) => {
    const row = expected[start + i - 1];
    if (!row) return assertEquals([logprob, listed], [null, []]);
    // Prefill and decode may round differently on a GPU, and native products take rows in 15 bits.
    const near = (a: number, b: number) => Math.abs(a - b) < 3e-3 * (1 + Math.abs(b));
    assert(near(logprob!, row[id]), `token ${start + i}: ${logprob}, expected ${row[id]}`);
    assertEquals(listed.length, top);
    listed.forEach((each) => assert(near(each.logprob, row[each.id]), `token ${start + i}`));
    const least = row[likeliest(row, top).at(-1) ?? 0];
    assert(listed.every((each) => near(each.logprob, Math.max(each.logprob, least))));
    assertEquals(new Set(listed.map((each) => each.id)).size, top);
  });
}

gpuTest(
  "log probabilities are those of the model's own logits, whatever penalties, biases and sampling do",
  async () => {
    await using engine = await TextEngine.open({ model: path, isolate: "own", ...sizes });
    const asked: GenerateOptions[] = [
      { logprobs: 5, echo: true },
      { logprobs: 20, temperature: 1.5, seed: 3 },
      { logprobs: 1, presencePenalty: 2, frequencyPenalty: 0.5, temperature: 1, seed: 9 },
      { logprobs: 0, logitBias: { 40: 100, 41: -100 } },
      {},
      { logprobs: 3, echo: true, topK: 3, temperature: 2, seed: 1, logitBias: { 7: 2 } },
      { logprobs: 2, echo: true, maxTokens: 0 },
    ];
    const options = { maxTokens: 20, ignoreEos: true };
    const alone = [];
    for (const each of asked) alone.push(await engine.complete(prompt, { ...options, ...each }));
    const batched = await Promise.all(
      asked.map((each) => engine.complete(prompt, { ...options, ...each })),
    );
    for (
      const [i, { logprobs, echo, maxTokens = 20, temperature = 0, logitBias }] of asked.entries()
    ) {
      const { ids, logprobs: scored, prompt: told } = alone[i];
      assertEquals(ids.length, maxTokens);
      assertEquals([batched[i].ids, batched[i].logprobs, batched[i].prompt], [ids, scored, told]);
      if (logprobs === undefined) {
        assertEquals([scored, told], [undefined, undefined]);
        continue;
      }
      const all = [...goldenPrompt, ...ids];
      await check(all, scored!, goldenPrompt.length, logprobs);
      if (echo) await check([...goldenPrompt], told!.logprobs!, 0, logprobs);
      // Greedy is the likeliest, to the bit.
      if (temperature === 0 && !logitBias && logprobs > 0) {
        for (const { id, logprob, top } of scored!) {
          assertEquals([top[0].id, top[0].logprob], [id, logprob]);
        }
      }
    }
    assertEquals(alone[3].ids, new Array(20).fill(40));
    assert(alone[3].logprobs!.every(({ logprob }) => logprob! < -1), "a bias does not show");
  },
);

gpuTest(
  "a text has the same log probabilities echoed as generated, and after being cached",
  async () => {
    await using engine = await TextEngine.open({ model: path, isolate: "own", ...sizes });
    const first = await engine.complete(prompt, { maxTokens: 90, ignoreEos: true, logprobs: 4 });
    const text = [{ type: "tokens" as const, ids: [...goldenPrompt, ...first.ids] }];
    for (let time = 0; time < 2; time++) {
      const { prompt: told, usage } = await engine.complete(text, {
        maxTokens: 0,
        logprobs: 4,
        echo: true,
      });
      assertEquals(usage.cachedTokens, 0);
      const again = told!.logprobs!.slice(goldenPrompt.length);
      assertEquals(again.map(({ id }) => id), first.ids);
      again.forEach(({ logprob, top }, i) => {
        const before = first.logprobs![i];
        assert(Math.abs(logprob! - before.logprob!) < 1e-3, `token ${i}`);
        assert(Math.abs(top[0].logprob - before.top[0].logprob) < 1e-3, `token ${i}`);
      });
    }
  },
);

gpuTest("scores survive pre-emption", async () => {
  const texts: unknown[] = [];
  const prompts = ["Once upon a time", "The end", "Once upon a hill", "There was"];
  for (const kvTokens of [2048, 256]) {
    await using engine = await TextEngine.open({
      model: path,
      isolate: "own",
      activations: "f32",
      maxSequences: 4,
      contextLength: 192,
      kvTokens,
    });
    const found = await Promise.all(
      prompts.map((one, i) =>
        engine.complete(one, { maxTokens: 170, ignoreEos: true, logprobs: 2, echo: i % 2 === 0 })
      ),
    );
    texts.push(found.map(({ ids, prompt }) => [ids, prompt?.ids]));
    assertEquals(engine.load().preemptions > 0, kvTokens === 256);
    for (const { ids, logprobs, prompt } of found) {
      assertEquals(logprobs!.map(({ id }) => id), ids);
      assert(logprobs!.every(({ logprob }) => Number.isFinite(logprob)));
      assert(
        prompt === undefined || prompt.logprobs!.slice(1).every(({ logprob }) => logprob! < 0),
      );
    }
    texts.push(found.map(({ logprobs }) => logprobs!.map(({ logprob }) => logprob!.toFixed(3))));
  }
  assertEquals(texts.slice(2), texts.slice(0, 2));
});

gpuTest(
  "a generation whose logits are to be scored and is cancelled leaves the others alone",
  async () => {
    await using engine = await Engine.open(() => openModel({ path, ...sizes }));
    const request = (id: string) => ({
      id,
      prompt: { type: "parts" as const, parts: prompt },
      maxTokens: 40,
      sampling: greedy,
      ignoreEos: true,
      logprobs: 3,
      echo: true,
    });
    const read = async (id: string, until: number) => {
      const events: GenerateEvent[] = [];
      for await (const event of engine.submit(request(id))) {
        events.push(event);
        if (events.length === until) break;
      }
      return events.flatMap((event) => "logprobs" in event ? event.logprobs! : []);
    };
    const alone = await read("alone", Infinity);
    const [, whole] = await Promise.all([read("left", 4), read("stays", Infinity)]);
    assertEquals(whole, alone);
    await assertRejects(
      async () => {
        for await (const _ of engine.submit({ ...request("bad"), logprobs: 21 }));
      },
      TypeError,
      "logprobs is 21",
    );
  },
);
