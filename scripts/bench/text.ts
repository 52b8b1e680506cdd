/** Decode, prefill, first-token latency and the caller's responsiveness, through an engine in a host process as the server runs it. @module */
import { median } from "../../src/common/math.ts";
import { modelFiles } from "../../src/cli/model_files.ts";
import { TextEngine } from "../../src/engine/text_engine.ts";
import type { GenerateUsage } from "../../src/engine/types.ts";
import type { Bench, BenchContext } from "./harness.ts";
import { LoopGaps } from "./text/loop_gaps.ts";
import { nativeLayers } from "./text/native_layers.ts";
import { scoredDecode } from "./text/scored_decode.ts";
import { sharedDecode } from "./text/shared_decode.ts";

const decodeTokens = 128;
const rounds = 5;

async function run(context: BenchContext): Promise<void> {
  const [model] = await modelFiles([], undefined);
  await using engine = await TextEngine.open({ model, isolate: "process" });
  const prompt = await engine.tokenize(
    "It was a bright cold day, and the ship lay at anchor with her sails furled.",
  );
  const name = `${engine.info.id}: `;
  context.note(`${name}${engine.info.parameters} parameters on ${engine.info.device}`);
  let salt = 0;
  // Each stream differs from all before in its first token, so that nothing comes from the prefix cache.
  const fresh = (length: number) =>
    Array.from({ length }, (_, i) => i === 0 ? salt++ % 1000 + 3 : prompt[i % prompt.length]);
  const generate = async (ids: number[], maxTokens: number): Promise<GenerateUsage> => {
    const done = await engine.complete([{ type: "tokens", ids }], { maxTokens, ignoreEos: true });
    if (done.usage.completionTokens !== maxTokens) {
      throw new Error(
        `bench text: ${done.usage.completionTokens} tokens came, expected ${maxTokens}`,
      );
    }
    return done.usage;
  };
  await generate(fresh(40), 8);

  // One stream and eight in turn, each timed from its first token to its last.
  const single: number[] = [];
  const eight: number[] = [];
  const ttft: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const one = await generate(fresh(32), decodeTokens);
    single.push((decodeTokens - 1) / one.decodeMs * 1000);
    ttft.push(one.ttftMs);
    const start = performance.now();
    const all = await Promise.all(
      Array.from({ length: 8 }, () => generate(fresh(32), decodeTokens)),
    );
    const wall = performance.now() - start - Math.min(...all.map((usage) => usage.ttftMs));
    eight.push(8 * decodeTokens / wall * 1000);
  }
  context.report({
    case: "decode_1",
    metric: "tokens_per_s",
    value: median(single),
    unit: "tokens/s",
  });
  context.report({
    case: "decode_8",
    metric: "tokens_per_s",
    value: median(eight),
    unit: "tokens/s",
    baseline: "decode_1",
    ratio: median(eight.map((rate, i) => rate / single[i])),
  });
  context.report({ case: "ttft", metric: "median_ms", value: median(ttft), unit: "ms" });

  const prefill: number[] = [];
  for (let round = 0; round < rounds; round++) {
    prefill.push(1024 / (await generate(fresh(1024), 1)).ttftMs * 1000);
  }
  context.report({
    case: "prefill_1k",
    metric: "tokens_per_s",
    value: median(prefill),
    unit: "tokens/s",
  });

  // The server's own loop must go on while its engine works through a long prompt.
  const length = Math.min(4096, engine.info.contextLength - 1);
  const gaps = new LoopGaps();
  await generate(fresh(length), 1);
  context.report({ case: "event_loop", metric: "max_gap_ms", value: gaps.stop(), unit: "ms" });
  await nativeLayers(context, model);
  await scoredDecode(context, engine, fresh);
  await sharedDecode(context, model);
}

/** The text engine as a server runs it. */
export const bench: Bench = {
  name: "text",
  summary: "decode, prefill and first-token latency of the embedded model",
  run,
};
