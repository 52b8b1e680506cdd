import { DeviceLostError } from "../../src/common/errors.ts";
import {
  NOT_FINITE,
  PAGE_TOKENS,
  type StepBatch,
  type StepRow,
  type StepRunner,
} from "../../src/engine/step.ts";
import type { Pooling } from "../../src/model/config.ts";
import type { TokenScore } from "../../src/engine/token_scores.ts";
import type { SamplingOptions } from "../../src/engine/types.ts";

/** Settings of a `FakeRunner`. */
export interface FakeRunnerOptions {
  pagesTotal?: number;
  maxSequences?: number;
  maxBatchTokens?: number;
  contextLength?: number;
  mixedStepTokens?: number;
  pipelineDepth?: number;
  /** Sampled tokens are in [0, vocabulary). */
  vocabulary?: number;
  /** How texts are embedded, in vectors of 4 elements; absent: they are not. */
  pooling?: Pooling | "rank" | "unsaid";
  /** Milliseconds for which `collect` blocks, as a device would. */
  stepMs?: number;
}

function mix(hash: number, value: number): number {
  let h = Math.imul(hash ^ value, 0x9e3779b1);
  h ^= h >>> 15;
  h = Math.imul(h, 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

/** The "key and value" that a position must hold: it depends on every token up to it, as a real one does. */
function keyValue(previous: number, token: number, position: number): number {
  return mix(mix(previous, token + 1), position + 1) || 1;
}

function sample(
  visible: number,
  row: Pick<StepRow, "sampling" | "sampleIndex">,
  vocabulary: number,
): number {
  const { temperature, seed } = row.sampling;
  return (temperature > 0 ? mix(mix(visible, seed), row.sampleIndex) : visible) % vocabulary;
}

/** What is thought of `token` where `visible` can be seen: a hash for each token of the vocabulary, not a distribution. */
function score(visible: number, token: number, top: number, vocabulary: number): TokenScore {
  const logprob = (id: number) => -(mix(visible, id) % 997) / 64;
  const ids = Array.from({ length: vocabulary }, (_, id) => id);
  const likeliest = ids.sort((a, b) => logprob(b) - logprob(a) || a - b).slice(0, top);
  return {
    logprob: logprob(token),
    top: likeliest.map((id) => ({ id, logprob: logprob(id) })),
  };
}

/** The scores of a sequence's tokens but the first, computed without pages, batches or steps. */
export function expectedScores(
  tokens: readonly number[],
  top: number,
  vocabulary = 50,
): TokenScore[] {
  let kv = 0, visible = 0;
  return tokens.slice(0, -1).map((token, position) => {
    kv = keyValue(kv, token, position);
    visible = mix(visible, kv);
    return score(visible, tokens[position + 1], top, vocabulary);
  });
}

/** The hidden state where `visible` can be seen: a hash. */
function hiddenState(visible: number): number[] {
  return [0, 1, 2, 3].map((i) => mix(visible, i) % 199 - 99);
}

/** The unit vector of a text, computed without pages, batches or steps. */
export function expectedEmbedding(
  tokens: readonly number[],
  pooling: Pooling,
  dimensions = 4,
): Float32Array {
  let kv = 0, visible = 0;
  const states = tokens.map((token, position) => {
    kv = keyValue(kv, token, position);
    visible = mix(visible, kv);
    return hiddenState(visible);
  });
  const pooled = pooling === "mean" ? states : [states.at(pooling === "first" ? 0 : -1)!];
  const sum = [0, 1, 2, 3].map((i) => pooled.reduce((sum, state) => sum + state[i], 0));
  const leading = sum.slice(0, dimensions);
  return Float32Array.from(leading, (x) => x / Math.hypot(...leading));
}

/** The first token from `token` on that the row's constraint allows, cyclically. */
function allowed({ constraint }: StepRow, token: number, vocabulary: number): number {
  if (!constraint) return token;
  const words = new Uint32Array(Math.ceil(vocabulary / 32));
  constraint.mask(words);
  for (let i = 0; i < vocabulary; i++) {
    const id = (token + i) % vocabulary;
    if (words[id >> 5] >>> (id & 31) & 1) return id;
  }
  return NOT_FINITE;
}

/** The tokens that a correct engine generates for `prompt`, computed without pages, batches or steps. */
export function expectedTokens(
  prompt: readonly number[],
  count: number,
  sampling: SamplingOptions,
  vocabulary = 50,
): number[] {
  let kv = 0, visible = 0, position = 0;
  const read = (token: number) => {
    kv = keyValue(kv, token, position++);
    visible = mix(visible, kv);
  };
  prompt.forEach(read);
  const tokens: number[] = [];
  while (tokens.length < count) {
    tokens.push(sample(visible, { sampling, sampleIndex: tokens.length }, vocabulary));
    read(tokens.at(-1)!);
  }
  return tokens;
}

/**
 * A runner of plain arrays. Keys and values are hashes in pages, written and read through the page tables, and the
 * next token is a hash of all that a row can see: a wrong page, a stale or missing value, a lost copy or a skipped
 * position changes the text. Breaches of the contract throw.
 */
export class FakeRunner implements StepRunner {
  readonly maxSequences: number;
  readonly maxBatchTokens: number;
  readonly pageTokens = PAGE_TOKENS;
  readonly pagesTotal: number;
  readonly contextLength: number;
  readonly mixedStepTokens: number | undefined;
  readonly gpuBytes: number;
  readonly cpuBytes = 0;
  readonly pipelineDepth: number;
  readonly vocabulary: number;
  readonly embedding: StepRunner["embedding"];
  readonly #stepMs: number;
  readonly #pages: Uint32Array;
  readonly #lastToken: Int32Array;
  #results: Int32Array[] = [];
  /** Steps, positions written and pages copied so far. */
  steps = 0;
  positions = 0;
  copies = 0;
  /** Set to lose the device at the next call. */
  lost = false;

  constructor(options: FakeRunnerOptions = {}) {
    this.pagesTotal = options.pagesTotal ?? 64;
    this.maxSequences = options.maxSequences ?? 8;
    this.maxBatchTokens = options.maxBatchTokens ?? 256;
    this.contextLength = options.contextLength ?? this.pagesTotal * PAGE_TOKENS;
    this.mixedStepTokens = options.mixedStepTokens;
    this.pipelineDepth = options.pipelineDepth ?? 2;
    this.vocabulary = options.vocabulary ?? 50;
    this.#stepMs = options.stepMs ?? 0;
    const { pooling } = options;
    if (pooling) {
      this.embedding = { width: 4, pooling: pooling === "unsaid" ? undefined : pooling };
    }
    this.gpuBytes = this.pagesTotal * PAGE_TOKENS * 4;
    this.#pages = new Uint32Array(this.pagesTotal * PAGE_TOKENS);
    this.#lastToken = new Int32Array(this.maxSequences).fill(-1);
  }

  submit(batch: StepBatch): void {
    if (this.lost) throw new DeviceLostError("fake device lost");
    if (this.#results.length >= this.pipelineDepth) throw new Error("submit: pipeline is full");
    this.#validate(batch);
    for (const { from, to, tokens } of batch.copies) {
      // What lies behind the copied tokens is poisoned: nobody may read it before it is written.
      this.#pages.fill(0xdeadbeef, to * PAGE_TOKENS, (to + 1) * PAGE_TOKENS);
      this.#pages.copyWithin(to * PAGE_TOKENS, from * PAGE_TOKENS, from * PAGE_TOKENS + tokens);
      this.copies++;
    }
    // Rows of a step do not see each other: all read what stood before any wrote.
    const before = this.#pages.slice();
    this.#results.push(Int32Array.from(batch.rows, (row) => this.#run(row, before)));
    this.steps++;
  }

  collect(): Int32Array {
    if (this.lost) throw new DeviceLostError("fake device lost");
    const result = this.#results.shift();
    if (!result) throw new Error("collect: nothing is in flight");
    const until = performance.now() + this.#stepMs;
    while (performance.now() < until);
    return result;
  }

  #run(row: StepRow, before: Uint32Array): number {
    const tokens = row.tokens.length > 0 ? row.tokens : [this.#lastToken[row.slot]];
    const at = (position: number) =>
      row.pages[Math.floor(position / PAGE_TOKENS)] * PAGE_TOKENS + position % PAGE_TOKENS;
    let kv = 0, visible = 0;
    for (let position = 0; position < row.position; position++) {
      kv = before[at(position)];
      visible = mix(visible, kv);
    }
    tokens.forEach((token, i) => {
      kv = keyValue(kv, token, row.position + i);
      this.#pages[at(row.position + i)] = kv;
      visible = mix(visible, kv);
      this.positions++;
      this.#scorePrompt(row, row.position + i, visible);
      const { from, to } = row.pooled?.needed(row.position + i, row.position + i + 1) ?? {};
      if (from! < to!) row.pooled!.add(from!, hiddenState(visible));
    });
    if (!row.sample) return -1;
    const first = sample(visible, row, this.vocabulary);
    const chosen = allowed(row, first, this.vocabulary);
    if (chosen === NOT_FINITE) return chosen;
    row.scores?.set(
      row.generatedFrom! + row.sampleIndex,
      score(visible, chosen, row.scores.top, this.vocabulary),
    );
    return this.#lastToken[row.slot] = chosen;
  }

  #scorePrompt({ ids = [], tokens, scores }: StepRow, position: number, visible: number): void {
    if (!scores?.prompt || tokens.length === 0 || position < scores.next) return;
    if (position + 1 >= ids.length) return;
    scores.set(position + 1, score(visible, ids[position + 1], scores.top, this.vocabulary));
  }

  #validate({ rows }: StepBatch): void {
    const tokens = rows.reduce((sum, row) => sum + Math.max(1, row.tokens.length), 0);
    if (rows.length === 0 || rows.length > this.maxSequences) {
      throw new Error(`${rows.length} rows`);
    }
    if (tokens > this.maxBatchTokens) throw new Error(`${tokens} tokens in a step`);
    if (new Set(rows.map((row) => row.slot)).size !== rows.length) {
      throw new Error("a slot is used twice");
    }
    const written = new Set<number>();
    for (const row of rows) {
      if (row.slot < 0 || row.slot >= this.maxSequences) throw new Error(`slot ${row.slot}`);
      const end = row.position + Math.max(1, row.tokens.length);
      if (end > this.contextLength) throw new Error(`position ${end - 1} is past the context`);
      if (row.pages.length * PAGE_TOKENS < end) {
        throw new Error(`pages do not cover position ${end - 1}`);
      }
      for (let p = Math.floor(row.position / PAGE_TOKENS); p * PAGE_TOKENS < end; p++) {
        if (written.has(row.pages[p])) {
          throw new Error(`page ${row.pages[p]} is written by two rows`);
        }
        written.add(row.pages[p]);
      }
    }
    for (const row of rows) {
      row.pages.slice(0, Math.floor(row.position / PAGE_TOKENS)).forEach((page) => {
        if (written.has(page)) {
          throw new Error(`page ${page} is read by one row and written by another`);
        }
      });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
