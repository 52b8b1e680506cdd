import { greedy } from "../../../src/engine/sampling_defaults.ts";
import { schedulerDefaults } from "../../../src/engine/scheduler.ts";
import type { EnginePool, GenerateUsage } from "../../../src/engine/types.ts";
import type { CostModel } from "../../../src/graph/sim/cost_model.ts";
import { TOKEN_CHARS } from "../../../src/graph/sim/sim_tokenizer.ts";
import type { Texts } from "./texts.ts";

/** Tokens that a calibrating generation puts out. */
const DECODE_TOKENS = 24;
/** Batches whose steps are timed. */
export const ROWS = [1, 4, 8, 16];
/** Characters of the prompts that are timed. */
export const PROMPTS = [600, 2400, 6000];

/** A real engine in the simulator's terms, for an application of which one simulated token stands for `tokensPerSimulated` real ones. */
export type FittedEngine = (tokensPerSimulated: number) => {
  cost: CostModel;
  /** Characters of a token that it generates, as near as the simulator comes. */
  generatedChars: number;
  pageTokens: number;
};

/** Times of a prompt: until its first token, and of each further one. */
export interface PromptTimes {
  chars: number;
  tokens: number;
  fillMs: number;
  stepMs: number;
}

/**
 * Measures an engine's own constants: how long steps of 1, 4 and 8 decoding rows take, how long prompts of three
 * lengths take, and what context adds to a decode step. Sampled again and again among other measurements, keeping
 * the shortest times, so that a busy moment of the machine does not become a property of the engine.
 */
export class EngineCalibration {
  readonly #pool: EnginePool;
  readonly #texts: Texts;
  readonly #steps = new Map<number, number>();
  readonly #prompts: PromptTimes[];

  constructor(pool: EnginePool, texts: Texts) {
    this.#pool = pool;
    this.#texts = texts;
    this.#prompts = PROMPTS.map((chars) => ({
      chars,
      tokens: 0,
      fillMs: Infinity,
      stepMs: Infinity,
    }));
  }

  /** Lets the engine meet every shape once: the first steps of each are slower than all that follow. */
  async warmUp(): Promise<void> {
    for (const chars of PROMPTS) await this.#run(chars, 8);
    await Promise.all(Array.from({ length: 8 }, () => this.#run(80, 8)));
  }

  /** Takes one more sample of everything. */
  async sample(): Promise<void> {
    for (const rows of ROWS) {
      const all = await Promise.all(
        Array.from({ length: rows }, () => this.#run(80, DECODE_TOKENS)),
      );
      const ms = Math.max(...all.map((usage) => usage.decodeMs)) / (DECODE_TOKENS - 1);
      this.#steps.set(rows, Math.min(ms, this.#steps.get(rows) ?? Infinity));
    }
    for (const times of this.#prompts) {
      const usage = await this.#run(times.chars, 8);
      times.tokens = usage.promptTokens;
      times.fillMs = Math.min(times.fillMs, usage.ttftMs);
      times.stepMs = Math.min(times.stepMs, usage.decodeMs / 7);
    }
  }

  /** The constants, per token of the model's own vocabulary. */
  fit(): FittedEngine {
    return fitEngine([...this.#steps], this.#prompts, this.#pool.load()[0].pagesTotal);
  }

  #run(chars: number, maxTokens: number): Promise<GenerateUsage> {
    return generate(this.#pool, this.#texts, chars, maxTokens);
  }
}

/** Always the same text of a length: other text has other tokens, and the shortest of several times would be of some other prompt. */
export async function generate(
  pool: EnginePool,
  texts: Texts,
  chars: number,
  maxTokens: number,
): Promise<GenerateUsage> {
  const id = `calibration-${crypto.randomUUID()}`;
  const text = texts.article(0, chars / TOKEN_CHARS);
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

/**
 * The cost model of an engine.
 *
 * @param steps milliseconds of a decode step, by its rows
 * @param prompts from the shortest to the longest
 */
export function fitEngine(
  steps: [rows: number, ms: number][],
  prompts: readonly PromptTimes[],
  pagesTotal: number,
): FittedEngine {
  const { slope: decodeMs, offset } = line(steps);
  const overheadMs = Math.max(0.05, offset);
  const { compute, quadratic } = fitPrefill(
    prompts.map(({ tokens, fillMs }) => [tokens, fillMs - overheadMs]),
  );
  const [first, last] = [prompts[0], prompts[prompts.length - 1]];
  const attention = Math.max(0, (last.stepMs - first.stepMs) / (last.tokens - first.tokens));
  return (scale) => ({
    cost: {
      overheadMs,
      weightsMs: 0,
      computeMsPerToken: compute * scale,
      decodeMsPerRow: Math.max(0.001, decodeMs),
      attentionMsPerToken: attention * scale,
      prefillAttentionMs: quadratic * 1000 * scale * scale,
      kvTokens: Math.floor(pagesTotal * 64 / scale),
      batchTokens: Math.floor(512 / scale),
      mixedTokens: Math.floor(schedulerDefaults.mixedStepTokens / scale),
      sequences: 64,
      latencyTokens: Infinity,
      latencyPrefillTokens: Infinity,
    },
    generatedChars: Math.min(4, Math.max(2, Math.round(TOKEN_CHARS / scale))),
    // The engine shares prefixes to the token.
    pageTokens: 8,
  });
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
