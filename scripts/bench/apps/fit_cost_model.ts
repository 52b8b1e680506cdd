import { greedy } from "../../../src/engine/sampling_defaults.ts";
import { schedulerDefaults } from "../../../src/engine/scheduler.ts";
import type { EnginePool, GenerateUsage } from "../../../src/engine/types.ts";
import { median } from "../../../src/common/math.ts";
import type { CostModel } from "../../../src/graph/sim/cost_model.ts";
import { TOKEN_CHARS } from "../../../src/graph/sim/sim_tokenizer.ts";
import type { Texts } from "./texts.ts";

/** Tokens that a calibrating generation puts out. */
const DECODE_TOKENS = 32;

/** A real engine in the simulator's terms. */
export interface FittedEngine {
  cost: CostModel;
  /** Characters of a token that it generates, as near as the simulator comes. */
  generatedChars: number;
}

/**
 * Measures an engine's own constants: how long steps of 1, 4 and 8 decoding rows take, how long prompts of three
 * lengths take, and what context adds to a decode step. Token counts are turned into the simulator's (four
 * characters each), so that the same text costs the same.
 */
export async function fitCostModel(pool: EnginePool, texts: Texts): Promise<FittedEngine> {
  let chunk = 0;
  // The kind of text that applications send: what a character costs depends on the vocabulary.
  const run = (chars: number, tokens: number) =>
    generate(pool, texts.article(chunk++, chars / TOKEN_CHARS), tokens);
  // The first steps of every shape are slower than all that follow.
  for (const chars of [6000, 6000, 2400, 600]) await run(chars, 8);
  await Promise.all(Array.from({ length: 8 }, () => run(80, 8)));
  const rows: [number, number][] = [];
  for (const count of [1, 4, 8]) {
    const times: number[] = [];
    for (let round = 0; round < 4; round++) {
      const all = await Promise.all(Array.from({ length: count }, () => run(80, DECODE_TOKENS)));
      times.push(median(all.map((usage) => usage.decodeMs / (DECODE_TOKENS - 1))));
    }
    rows.push([count, Math.min(...times)]);
  }
  const { slope: decodeMs, offset } = line(rows);
  const overheadMs = Math.max(0.05, offset);

  const prompts: { n: number; ms: number; decodeMs: number; chars: number }[] = [];
  for (const chars of [600, 2400, 6000]) {
    const tries: GenerateUsage[] = [];
    for (let round = 0; round < 5; round++) tries.push(await run(chars, 12));
    const best = tries.reduce((a, b) => a.ttftMs < b.ttftMs ? a : b);
    const decode = Math.min(...tries.map((usage) => usage.decodeMs / 11));
    prompts.push({ n: best.promptTokens, ms: best.ttftMs, decodeMs: decode, chars });
  }
  const charsPerToken = prompts[2].chars / prompts[2].n;
  const { compute, quadratic } = fitPrefill(prompts.map(({ n, ms }) => [n, ms - overheadMs]));
  const [first, , last] = prompts;
  const attention = Math.max(0, (last.decodeMs - first.decodeMs) / (last.n - first.n));
  const scale = TOKEN_CHARS / charsPerToken;
  const [load] = pool.load();
  const cost = {
    overheadMs,
    weightsMs: 0,
    computeMsPerToken: compute * scale,
    decodeMsPerRow: Math.max(0.001, decodeMs),
    attentionMsPerToken: attention * scale,
    prefillAttentionMs: quadratic * 1000 * scale * scale,
    kvTokens: Math.floor(load.pagesTotal * 64 / scale),
    batchTokens: Math.floor(512 / scale),
    mixedTokens: Math.floor(schedulerDefaults.mixedStepTokens / scale),
    sequences: 64,
    latencyTokens: Infinity,
    latencyPrefillTokens: Infinity,
  };
  return { cost, generatedChars: Math.min(4, Math.max(2, Math.round(charsPerToken))) };
}

async function generate(pool: EnginePool, text: string, maxTokens: number): Promise<GenerateUsage> {
  const id = `fit-${crypto.randomUUID()}`;
  const generation = pool.submit({
    id,
    prompt: { type: "parts", parts: [{ type: "text", text }] },
    maxTokens,
    ignoreEos: true,
    sampling: greedy,
    cacheScope: id,
    criteria: "throughput",
  });
  for await (const event of generation) if (event.type === "finished") return event.usage;
  throw new Error("the generation ended without saying why");
}

/** Fits ms = n · compute + n²/2 · quadratic, both at least 0, with the least relative error. */
function fitPrefill(points: [number, number][]): { compute: number; quadratic: number } {
  const [longest, longestMs] = points[points.length - 1];
  let best = { compute: longestMs / longest, quadratic: 0, error: Infinity };
  for (let step = 0; step <= 200; step++) {
    const quadratic = (step / 200) * longestMs / (longest * longest / 2);
    const linear = points.map(([n, ms]) => [n, ms - n * n / 2 * quadratic, ms]);
    const compute = Math.max(
      0,
      linear.reduce((sum, [n, rest, ms]) => sum + n * rest / (ms * ms), 0) /
        linear.reduce((sum, [n, , ms]) => sum + n * n / (ms * ms), 0),
    );
    const error = linear.reduce((sum, [n, rest, ms]) => sum + ((n * compute - rest) / ms) ** 2, 0);
    if (error < best.error) best = { compute, quadratic, error };
  }
  return best;
}

/** Least squares. */
function line(points: [number, number][]): { slope: number; offset: number } {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const x = mean(points.map(([x]) => x));
  const y = mean(points.map(([, y]) => y));
  const slope = points.reduce((sum, [px, py]) => sum + (px - x) * (py - y), 0) /
    points.reduce((sum, [px]) => sum + (px - x) ** 2, 0);
  return { slope, offset: y - slope * x };
}
