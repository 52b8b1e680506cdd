/**
 * The seam between scheduling, which is pure, and the GPU: a step is one batch of rows, each row one sequence's
 * share. Nothing here imports anything that touches a device, so that scheduler and block manager are tested
 * against a runner of plain arrays.
 * @module
 */
import type { DeviceLostError } from "../common/errors.ts";
import type { PAGE_TOKENS } from "../common/page_tokens.ts";
import type { VacantPages } from "../retrieval/vacant_pages.ts";
import type { Pooling } from "../model/config.ts";
import type { PooledText } from "./pooled_text.ts";
import type { TokenScores } from "./token_scores.ts";
import type { DecodePolicy, RetrievalLoad, SamplingOptions } from "./types.ts";

export { PAGE_TOKENS } from "../common/page_tokens.ts";

/** What `collect` returns for a row whose logits were not finite: its request fails, others go on. */
export const NOT_FINITE = -2;

/** In a page table: the sequence gave the page back, since the runner keeps its keys and values elsewhere. */
export const VACANT = -1;

/** Knows which tokens may follow those that a sequence has generated. */
export interface TokenMask {
  /** Writes a bit for each token, `id % 32` of word `id / 32`, and zeros past the vocabulary. */
  mask(words: Uint32Array<ArrayBuffer>): void;
}

/** One sequence's share of a step. */
export interface StepRow {
  /** Which per-sequence state slot on the GPU this row uses, in [0, maxSequences): the sequence's own until it leaves. */
  slot: number;
  /**
   * Token ids to process now: several while prefilling; empty when decoding, which means "the token this slot
   * sampled last, which is still on the GPU".
   */
  tokens: Uint32Array;
  /** Position of the first token processed in this step. */
  position: number;
  /** KV page numbers of the sequence, covering every position up to the last one processed; `VACANT` where it gave pages back. */
  pages: readonly number[];
  /** Tokens that the sequence reads before it decodes, those found in the cache included. */
  promptTokens?: number;
  /** Whether to sample a next token after the last token of this row (false for a prefill chunk that is not the last). */
  sample: boolean;
  sampling: SamplingOptions;
  /** Which tokens the row may sample; absent: all. */
  constraint?: TokenMask;
  /** Prompt and generated tokens that are known, for penalties. */
  ids?: readonly number[];
  /** Where the generated ones begin in `ids`. */
  generatedFrom?: number;
  /**
   * Tokens sampled so far by this request: the sampler's counter, so that the same seed gives the same text however
   * the request is batched or pre-empted.
   */
  sampleIndex: number;
  /** How attention is computed when the row decodes. */
  decode: DecodePolicy;
  /**
   * Takes what the model thinks of the row's tokens before any penalty, bias or temperature: of the sampled one, and if it asks for the prompt
   * of those that follow the row's positions in `ids`. Filled by the time the step is collected.
   */
  scores?: TokenScores;
  /** Takes the hidden states that it needs of the row's tokens; filled by the time the step is collected. */
  pooled?: PooledText;
}

/** Copies the keys and values of the first `tokens` positions of page `from` into page `to`, every layer. */
export interface PageCopy {
  from: number;
  to: number;
  tokens: number;
}

/** One step. Its copies run before its rows; rows are independent of each other. */
export interface StepBatch {
  rows: StepRow[];
  copies: PageCopy[];
}

/**
 * Runs steps in the order submitted. `submit` and `collect` are synchronous and may block the isolate for the
 * length of a step, which is why an engine lives in a host of its own.
 */
export interface StepRunner extends AsyncDisposable {
  /** Slots for sequences: rows of one step at most. */
  readonly maxSequences: number;
  /** Tokens of one step at most; a decoding row counts one. */
  readonly maxBatchTokens: number;
  readonly pageTokens: typeof PAGE_TOKENS;
  /** KV pages in all; page numbers are in [0, pagesTotal). */
  readonly pagesTotal: number;
  /** Longest sequence in tokens, prompt and generated together. */
  readonly contextLength: number;
  /** Tokens of a step in which rows decode and prompts are read, for whoever schedules it. Absent: 128. */
  readonly mixedStepTokens?: number;
  readonly gpuBytes: number;
  /** Bytes of weights, keys and values in CPU memory. */
  readonly cpuBytes: number;
  /** How texts are embedded: the width of vectors, and what the model file says of pooling. Absent: not at all. */
  readonly embedding?: { readonly width: number; readonly pooling: Pooling | "rank" | undefined };
  /** Steps that may be submitted before the oldest is collected; 2 lets a decode step follow one not yet read. */
  readonly pipelineDepth: number;
  /** Records and submits the step; returns at once. Throws `DeviceLostError` when the device is gone. */
  submit(batch: StepBatch): void;
  /**
   * Waits for the oldest submitted step and returns the token sampled by each of its rows, in order (-1 where
   * `sample` was false, `NOT_FINITE` where there was none to sample). Throws `DeviceLostError` when the device is gone.
   */
  collect(): Uint32Array | Int32Array;
  /**
   * Makes some steps faster from now on, without a change of results, for as long as one long step takes; called while no step is in flight.
   * Resolves to whether there is more to do. Absent: nothing is left to be done.
   */
  prepare?(): Promise<boolean>;
  /** Pages that sequences no longer need since the last call, asked when no step is in flight. Absent: none ever. */
  takeVacant?(): VacantPages[];
  /**
   * Tokens at the end of a prompt of `promptTokens` that are to be computed although the cache may hold them; it begins with these cached pages.
   * Absent: 1, whose logits are needed.
   */
  freshTokens?(decode: DecodePolicy, pages: readonly number[], promptTokens: number): number;
  /** Told when the sequence of a slot has left, before another may take it. */
  leave?(slot: number): void;
  /** What retrieval holds and did; absent without it. */
  readonly retrieval?: RetrievalLoad;
  /**
   * Resolves when the device is lost. A step may fail of that, with another error, before the event loop has its turn and tells. Absent:
   * failed steps say so themselves.
   */
  readonly loss?: Promise<DeviceLostError>;
}

/** What scheduling must know of a runner. */
export type StepLimits = Pick<
  StepRunner,
  | "maxSequences"
  | "maxBatchTokens"
  | "pagesTotal"
  | "contextLength"
  | "mixedStepTokens"
  | "freshTokens"
>;
