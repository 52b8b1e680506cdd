import { greedy } from "../../../src/engine/sampling_defaults.ts";
import { median } from "../../../src/common/math.ts";
import { mixedStepTokens } from "../../../src/engine/mixed_step_tokens.ts";
import type { EnginePool, GenerateUsage } from "../../../src/engine/types.ts";
import { classifyAdapter } from "../../../src/gpu/adapter_class.ts";
import { type CostModel, stepMs } from "../../../src/graph/sim/cost_model.ts";
import { TOKEN_CHARS } from "../../../src/graph/sim/sim_tokenizer.ts";
import type { Texts } from "./texts.ts";

/** Tokens that a calibrating generation puts out. */
const DECODE_TOKENS = 24;
/** Tokens of a prompt whose decoding is timed: its own context is hardly read. */
export const SHORT_TOKENS = 16;
/** Batches whose steps are timed: both sides of where products go from one tile of rows to a taller one, or to two. */
export const ROWS = [1, 2, 4, 5, 8, 9, 16];
/** Tokens of the prompts that are timed: steps of whole tiles, one token more, and more than a step. */
export const PROMPTS = [32, 64, 65, 128, 256, 384, 512, 2000];
/** The prompt that is one token more than whole tiles. */
const ONE_MORE = 65;
/** Tiles of rows that kernels have. */
const TILES = [1, 8, 16, 32, 64];
/** Rows whose decoding behind one prefix, the longest prompt, is timed. */
export const SHARING_ROWS = 8;
/** Tokens of a step at most. */
const STEP_TOKENS = 512;
/**
 * Tokens that sharing must save in a step: where shared_tiles.ts found that it begins to gain, 2 rows on 1,024 to 2,048 keys, 5 on 512,
 * 8 on 256.
 */
const LEAST_SHARED_TOKENS = 1800;

/** A real engine in the simulator's terms, for an application of which one simulated token stands for `tokensPerSimulated` real ones. */
export type FittedEngine = (tokensPerSimulated: number) => {
  cost: CostModel;
  /** Characters of a token that it generates, as near as the simulator comes. */
  generatedChars: number;
  pageTokens: number;
};

/** Times of a prompt: until its first token, and of each further one. */
export interface PromptTimes {
  tokens: number;
  fillMs: number;
  stepMs: number;
}

/** Every time that one sample takes. */
interface Sample {
  /** Milliseconds of a decode step, by its rows. */
  steps: Map<number, number>;
  /** As `PROMPTS`. */
  prompts: PromptTimes[];
  /** Milliseconds of a step in which `SHARING_ROWS` rows decode behind the longest prompt. */
  sharingMs: number;
}

/**
 * Measures an engine's own constants: how long steps of 1 to 16 decoding rows take, how long prompts of several lengths
 * take, and what context adds to a decode step. Sampled before and after everything else that is measured, in full runs after every round. Constants are medians of all
 * samples; what is compared with them has the pace of the samples beside it, so that an hour in which the machine is slow does not
 * count as a property of the engine, nor its best moments as what it can do throughout.
 */
export class EngineCalibration {
  readonly #pool: EnginePool;
  readonly #texts: Texts;
  readonly #samples: Sample[] = [];

  constructor(pool: EnginePool, texts: Texts) {
    this.#pool = pool;
    this.#texts = texts;
  }

  /** Lets the engine meet every shape once: the first steps of each are slower than all that follow. */
  async warmUp(): Promise<void> {
    for (const tokens of PROMPTS) await this.#run(tokens, 8);
    await Promise.all(Array.from({ length: 8 }, () => this.#run(SHORT_TOKENS, 8)));
  }

  /** Samples taken so far. */
  get samples(): number {
    return this.#samples.length;
  }

  /** Takes one more sample of everything. */
  async sample(): Promise<void> {
    const steps = new Map<number, number>();
    for (const rows of ROWS) {
      const all = await Promise.all(
        Array.from({ length: rows }, () => this.#run(SHORT_TOKENS, DECODE_TOKENS)),
      );
      // The row that began last: while the others decode, its own prompt and theirs are read.
      steps.set(rows, Math.min(...all.map((usage) => usage.decodeMs)) / (DECODE_TOKENS - 1));
    }
    const prompts: PromptTimes[] = [];
    for (const tokens of PROMPTS) {
      const usage = await this.#run(tokens, 8);
      prompts.push({ tokens, fillMs: usage.ttftMs, stepMs: usage.decodeMs / 7 });
    }
    const sharing = await generateSharing(this.#pool, this.#texts, DECODE_TOKENS);
    const sharingMs = Math.min(...sharing.map((usage) => usage.decodeMs)) / (DECODE_TOKENS - 1);
    this.#samples.push({ steps, prompts, sharingMs });
  }

  /** How long everything took in the samples from number `first` to `last`, in the mean, as a multiple of the medians of all samples. */
  pace(first: number, last: number): number {
    const all = this.#samples.map(timesOf);
    const own = all.slice(first, last + 1);
    return median(
      all[0].map((_, what) =>
        own.reduce((sum, times) => sum + times[what], 0) / own.length /
        median(all.map((times) => times[what]))
      ),
    );
  }

  /** The constants, per token of the model's own vocabulary, at a pace. */
  async fit(pace = 1): Promise<FittedEngine> {
    const usual = (time: (sample: Sample) => number) => pace * median(this.#samples.map(time));
    const steps = ROWS.map((rows) => [rows, usual(({ steps }) => steps.get(rows)!)] as const);
    const prompts = PROMPTS.map((tokens, i) => ({
      tokens,
      fillMs: usual(({ prompts }) => prompts[i].fillMs),
      stepMs: usual(({ prompts }) => prompts[i].stepMs),
    }));
    const sharingMs = usual((sample) => sample.sharingMs);
    return fitEngine(steps, prompts, sharingMs, await limitsOf(this.#pool));
  }

  #run(tokens: number, maxTokens: number): Promise<GenerateUsage> {
    return generate(this.#pool, this.#texts, tokens, maxTokens);
  }
}

/** The times of a sample, in order. */
function timesOf({ steps, prompts, sharingMs }: Sample): number[] {
  return [...steps.values(), ...prompts.map(({ fillMs }) => fillMs), sharingMs];
}

/** What an engine says of itself. */
export interface EngineLimits {
  pagesTotal: number;
  /** Tokens of a step at most while latency work decodes. */
  mixedTokens: number;
}

/** The limits of a pool's first engine. */
export async function limitsOf(pool: EnginePool): Promise<EngineLimits> {
  const [{ device }] = await pool.models();
  const adapter = classifyAdapter({ vendor: "", description: device, device: "" });
  return { pagesTotal: pool.load()[0].pagesTotal, mixedTokens: mixedStepTokens(adapter) };
}

/** A generation after the first `tokens` of the article: its usage. */
export async function generate(
  pool: EnginePool,
  texts: Texts,
  tokens: number,
  maxTokens: number,
  cacheScope?: string,
): Promise<GenerateUsage> {
  const id = `calibration-${crypto.randomUUID()}`;
  // No vocabulary has tokens of more than eight characters in the mean.
  const ids = (await pool.tokenize(texts.article(0, 8 * tokens / TOKEN_CHARS))).slice(0, tokens);
  const generation = pool.submit({
    id,
    prompt: { type: "parts", parts: [{ type: "tokens", ids }] },
    maxTokens,
    ignoreEos: true,
    sampling: greedy,
    cacheScope: cacheScope ?? id,
    criteria: "throughput",
  });
  for await (const event of generation) if (event.type === "finished") return event.usage;
  throw new Error("the generation ended without saying why");
}

/** `SHARING_ROWS` generations behind one prefix, the longest prompt: the usage of each. */
export async function generateSharing(
  pool: EnginePool,
  texts: Texts,
  maxTokens: number,
  scope: string = crypto.randomUUID(),
): Promise<GenerateUsage[]> {
  const tokens = PROMPTS[PROMPTS.length - 1];
  await generate(pool, texts, tokens, 0, scope);
  return await Promise.all(
    Array.from({ length: SHARING_ROWS }, () => generate(pool, texts, tokens, maxTokens, scope)),
  );
}

/**
 * The cost model of an engine.
 *
 * @param steps milliseconds of a decode step, by its rows
 * @param prompts from the shortest to the longest
 * @param sharingMs milliseconds of a step in which `SHARING_ROWS` rows decode behind the longest prompt, which they share
 */
export function fitEngine(
  steps: readonly (readonly [rows: number, ms: number])[],
  prompts: readonly PromptTimes[],
  sharingMs: number,
  { pagesTotal, mixedTokens }: EngineLimits,
): FittedEngine {
  const [first, last] = [prompts[0], prompts[prompts.length - 1]];
  const most = Math.max(...steps.map(([rows]) => rows));
  const whole = prompts.filter(({ tokens }) =>
    tokens > most && tokens <= STEP_TOKENS && tokens !== ONE_MORE
  );
  const table = rising([
    ...steps,
    ...whole.map(({ tokens, fillMs }) => [tokens, fillMs] as const),
  ]);
  const attention = Math.max(0, (last.stepMs - first.stepMs) / (last.tokens - first.tokens));
  const unattended: CostModel = {
    overheadMs: 0,
    weightsMs: 0,
    computeMsPerToken: 0,
    measured: { table, promptTokens: 1, tileTokens: 1 },
    attentionMsPerToken: attention,
    prefillAttentionMs: 0,
    kvTokens: pagesTotal * 64,
    batchTokens: STEP_TOKENS,
    mixedTokens,
    sequences: 64,
    latencyTokens: Infinity,
    latencyPrefillTokens: Infinity,
  };
  // Prompts read in one step have attention within it, so what is longer tells that between steps.
  const chunks = chunksOf(last.tokens);
  const within = chunks.reduce((sum, chunk) => sum + chunk ** 2 / 2, 0);
  const chunksMs = chunks.reduce(
    (sum, prefill) => sum + stepMs(unattended, { prefill, prefillContext: 0, rows: 0, kvRead: 0 }),
    0,
  );
  const between = last.tokens ** 2 / 2 - within;
  const quadratic = between > 0 ? Math.max(0, last.fillMs - chunksMs) / between : 0;
  const bare = rising(
    table.map(([tokens, ms]) => [tokens, tokens > most ? ms - quadratic * tokens ** 2 / 2 : ms]),
  );
  // Rows alone would add SHARING_ROWS times what the first adds.
  const aloneMs = stepMs(unattended, {
    prefill: 0,
    prefillContext: 0,
    rows: SHARING_ROWS,
    kvRead: 0,
  });
  const oneRead = attention * last.tokens;
  const furtherReads = oneRead > 0 ? (sharingMs - aloneMs) / oneRead - 1 : 0;
  const furtherRow = Math.min(1, Math.max(0, furtherReads / (SHARING_ROWS - 1)));
  return (scale) => ({
    cost: {
      ...unattended,
      sharedReads: { furtherRow, leastTokens: LEAST_SHARED_TOKENS / scale },
      measured: { table: bare, promptTokens: scale, tileTokens: tileOf(prompts) },
      attentionMsPerToken: attention * scale,
      prefillAttentionMs: quadratic * 1000 * scale * scale,
      kvTokens: Math.floor(unattended.kvTokens / scale),
      batchTokens: Math.floor(STEP_TOKENS / scale),
      mixedTokens: Math.floor(mixedTokens / scale),
    },
    generatedChars: Math.min(4, Math.max(2, Math.round(TOKEN_CHARS / scale))),
    // The engine shares prefixes to the token.
    pageTokens: 8,
  });
}

/** Rows of the tiles in which an engine reads prompts: how many tokens one more than whole tiles costs. */
function tileOf(prompts: readonly PromptTimes[]): number {
  const ms = (tokens: number) => prompts.find((times) => times.tokens === tokens)?.fillMs ?? NaN;
  const before = ONE_MORE - 1;
  const more = (ms(ONE_MORE) - ms(before)) * before / (ms(2 * before) - ms(before));
  if (Number.isNaN(more)) return 1;
  const from = (tile: number) => Math.abs(Math.log(tile / Math.max(1, more)));
  return TILES.reduce((best, tile) => from(tile) < from(best) ? tile : best);
}

/** The steps in which a prompt is read, as few as can be, in tokens. */
function chunksOf(tokens: number): number[] {
  const chunks: number[] = [];
  for (let left = tokens; left > 0; left -= STEP_TOKENS) chunks.push(Math.min(left, STEP_TOKENS));
  return chunks;
}

/** Points in order, none below the one before: more tokens never take less time, whatever the clock said. */
function rising(
  points: readonly (readonly [tokens: number, ms: number])[],
): (readonly [tokens: number, ms: number])[] {
  let least = 0;
  return [...points].sort(([a], [b]) => a - b).map(([tokens, ms]) => {
    least = Math.max(least, ms);
    return [tokens, least] as const;
  });
}
