/**
 * What a step of a language model engine costs, in closed form. One step processes `prefill` prompt tokens and one
 * token for each of `rows` decoding sequences:
 *
 *   step = overhead + max(weights, prefill · compute + rows · decode) + kvRead · attention
 *        + prefill · context · prefillAttention
 *
 * The linear layers either wait for their weights or for their arithmetic, whichever is longer, so prompt tokens ride
 * along with a small decode batch almost free; attention reads the keys and values of every row.
 *
 * An engine that was measured has a table in place of the first two terms: kernels work in tiles, so that 5 rows can
 * cost what 8 do, and 9 much more.
 */
export interface CostModel {
  /** Milliseconds per step that depend on nothing. */
  overheadMs: number;
  /** Milliseconds to read every weight once. */
  weightsMs: number;
  /** Milliseconds of arithmetic per token. */
  computeMsPerToken: number;
  /** Measured instead of overhead, weights and arithmetic. */
  measured?: MeasuredSteps;
  /** Milliseconds per token of context that a decoding row reads. */
  attentionMsPerToken: number;
  /** What a prefix costs that several rows attend to together. Default: as if one row read it. */
  sharedReads?: SharedReads;
  /** Milliseconds per prompt token and 1,000 tokens of context before it. */
  prefillAttentionMs: number;
  /** Tokens of keys and values that fit in memory. */
  kvTokens: number;
  /** Tokens of one step at most. */
  batchTokens: number;
  /** Tokens of a step at most while latency-critical sequences decode, twice as many while only others do. Default: `batchTokens`. */
  mixedTokens?: number;
  /** Sequences running at a time at most. */
  sequences: number;
  /** Context tokens that decode in one step while a latency-critical sequence does. */
  latencyTokens: number;
  /**
   * Bulk prompt tokens in one step while a latency-critical sequence runs: weights over compute, so that they ride
   * along while the step waits for its weights.
   */
  latencyPrefillTokens: number;
}

/** What steps take before attention, as measured. */
export interface MeasuredSteps {
  /** Milliseconds of a step, by the engine's own tokens, from few to many; in between it is a straight line. */
  table: readonly (readonly [tokens: number, ms: number])[];
  /** The engine's tokens that a prompt token stands for; a decoding row is one. */
  promptTokens: number;
  /** Rows of a kernel's tile: more than one tile counts as whole ones. 1: none. */
  tileTokens: number;
}

/** Attention of several rows to one prefix: its keys are loaded once, but every row has its arithmetic with them. */
export interface SharedReads {
  /** What each row but the first costs, as a share of what it costs alone. */
  furtherRow: number;
  /** Tokens that a step must save by it; with fewer, each row reads for itself. */
  leastTokens: number;
}

/** The work of one step. */
export interface StepWork {
  prefill: number;
  /** Context before each prefilled token, summed, in tokens. */
  prefillContext: number;
  rows: number;
  /** Context tokens read by decoding rows; shared ones counted as often as they are read. */
  kvRead: number;
}

/** Milliseconds of one step. */
export function stepMs(model: CostModel, work: StepWork): number {
  return linearMs(model, work) + work.kvRead * model.attentionMsPerToken +
    (work.prefillContext / 1000) * model.prefillAttentionMs;
}

/** Everything but attention. */
function linearMs(model: CostModel, { prefill, rows }: StepWork): number {
  if (model.measured) {
    const { table, promptTokens, tileTokens } = model.measured;
    // Prompt tokens that stand for more than one come to fractions: half a token is no reason for another tile.
    const tokens = Math.round(prefill * promptTokens + rows);
    return interpolate(
      table,
      tokens > tileTokens ? Math.ceil(tokens / tileTokens) * tileTokens : tokens,
    );
  }
  const arithmetic = (prefill + rows) * model.computeMsPerToken;
  return model.overheadMs + Math.max(model.weightsMs, arithmetic);
}

/** The height at `x` of the line through `points`: level before the first, and as steep as at the end after the last. */
function interpolate(points: MeasuredSteps["table"], x: number): number {
  const after = points.findIndex(([at]) => at >= x);
  if (after === 0 || points.length === 1) return points[0][1];
  const end = after < 0 ? points.length - 1 : after;
  const [[x0, y0], [x1, y1]] = [points[end - 1], points[end]];
  return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

/**
 * LLaMA-13B in f16 on one A100 of 80 GB, the testbed of the Parrot paper. Weights: 26 GB at 80 % of 2.04 TB/s.
 * Arithmetic: 26 GFLOP a token at 55 % of 312 TFLOP/s. Prefill attention: 0.82 GFLOP a token and 1,000 tokens of
 * context at 35 % of peak. Keys and values: 0.82 MB a token, in what 90 % of 80 GB leave beside the weights.
 * Overhead and attention are set so that an engine holding 4,096 tokens takes the 40 ms a step for which the paper
 * calibrated its latency baseline, and one holding 16K the 78 ms of its throughput baseline: 12 ms of host work a
 * step, and 2.9 µs per context token.
 */
export const llama13bOnA100: CostModel = {
  overheadMs: 12,
  weightsMs: 16.2,
  computeMsPerToken: 0.151,
  attentionMsPerToken: 0.0029,
  prefillAttentionMs: 0.0075,
  kvTokens: 56_000,
  batchTokens: 2048,
  sequences: 256,
  latencyTokens: 4096,
  latencyPrefillTokens: 107,
};

/**
 * LLaMA-7B in f16 on one A6000 of 48 GB: four of these are the paper's multi-engine testbed. Weights: 13.5 GB at 80 %
 * of 768 GB/s. Arithmetic: 13.5 GFLOP a token at 50 % of 155 TFLOP/s. Keys and values: 0.52 MB a token.
 * Attention is as far from the memory's speed as on the A100 above (seven times slower). Latency tokens: on the
 * paper's mix of chat and map-reduce, 4,096 give 47 ms per chat token and 28 s per job, 16,384 give 53 ms and 22 s.
 */
export const llama7bOnA6000: CostModel = {
  overheadMs: 12,
  weightsMs: 22,
  computeMsPerToken: 0.174,
  attentionMsPerToken: 0.0049,
  prefillAttentionMs: 0.0096,
  kvTokens: 56_000,
  batchTokens: 2048,
  sequences: 256,
  latencyTokens: 16_384,
  latencyPrefillTokens: 126,
};
