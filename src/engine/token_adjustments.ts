import type { Gpu } from "../gpu/gpu.ts";
import { type AdjustBuffers, ADJUSTED_BYTES, maskWords } from "../kernels/adjust.ts";
import type { StepRow, TokenMask } from "./step.ts";
import type { SamplingOptions } from "./types.ts";

/** Most that a token's count goes to. */
const MOST = 0xffff;

/** `Adjusted.mask` of a row without one. */
const NO_MASK = 0xffffffff;

/** Uploads the biases, penalties and masks of a step's rows; tokens sampled later are counted on the GPU. */
export class TokenAdjustments {
  readonly #gpu: Gpu;
  readonly #adjusted: GPUBuffer;
  readonly #table: GPUBuffer;
  readonly #masks: GPUBuffer;
  readonly #vocabulary: number;
  /** Slots whose rows of the table are those of the sequence that holds them. */
  readonly #written = new Set<number>();

  constructor(
    gpu: Gpu,
    { adjusted, adjustments, masks }: Pick<AdjustBuffers, "adjusted" | "adjustments" | "masks">,
    vocabulary: number,
  ) {
    this.#gpu = gpu;
    this.#adjusted = adjusted;
    this.#table = adjustments;
    this.#masks = masks;
    this.#vocabulary = vocabulary;
  }

  /** Uploads what the sampled rows of `batch` ask for; returns how many of them ask for something. */
  prepare(batch: readonly StepRow[]): number {
    const sampled = batch.filter((row) => row.sample);
    const wanted = sampled.flatMap((row, index) =>
      isAdjusted(row.sampling) || row.constraint ? [{ row, index }] : []
    );
    if (wanted.length === 0) return 0;
    this.#uploadMasks(wanted.flatMap(({ row }) => row.constraint ?? []));
    const view = new DataView(new ArrayBuffer(wanted.length * ADJUSTED_BYTES));
    let masked = 0;
    wanted.forEach(({ row, index }, i) => {
      const { slot, sampling, constraint } = row;
      const { presencePenalty = 0, frequencyPenalty = 0 } = sampling;
      let table = 0;
      if (isAdjusted(sampling)) {
        table = this.#written.has(slot) ? 2 : 1;
        if (table === 1) this.#write(row);
      }
      const at = i * ADJUSTED_BYTES;
      [index, slot, table].forEach((word, j) => view.setUint32(at + j * 4, word, true));
      view.setFloat32(at + 12, presencePenalty, true);
      view.setFloat32(at + 16, frequencyPenalty, true);
      view.setUint32(at + 20, constraint ? masked++ : NO_MASK, true);
      view.setFloat32(at + 24, -Infinity, true);
    });
    this.#gpu.buffers.write(this.#adjusted, 0, new Uint8Array(view.buffer));
    return wanted.length;
  }

  /** The sequence of a slot has left. */
  leave(slot: number): void {
    this.#written.delete(slot);
  }

  #uploadMasks(constraints: readonly TokenMask[]): void {
    if (constraints.length === 0) return;
    const each = maskWords(this.#vocabulary);
    const words = new Uint32Array(constraints.length * each);
    constraints.forEach((one, i) => one.mask(words.subarray(i * each, (i + 1) * each)));
    this.#gpu.buffers.write(this.#masks, 0, words);
  }

  /** Writes a slot's row of the table for the sequence that has just come to it. */
  #write({ slot, sampling, ids = [], generatedFrom = ids.length }: StepRow): void {
    const words = new Uint32Array(this.#vocabulary);
    const view = new DataView(words.buffer);
    for (const [id, bias] of Object.entries(sampling.logitBias ?? {})) {
      view.setFloat16(Number(id) * 4 + 2, bias, true);
    }
    for (let i = generatedFrom; i < ids.length; i++) {
      if ((words[ids[i]] & MOST) < MOST) words[ids[i]]++;
    }
    this.#gpu.buffers.write(this.#table, slot * this.#vocabulary * 4, words);
    this.#written.add(slot);
  }
}

function isAdjusted({ presencePenalty, frequencyPenalty, logitBias }: SamplingOptions): boolean {
  return Boolean(presencePenalty) || Boolean(frequencyPenalty) ||
    (logitBias !== undefined && Object.keys(logitBias).length > 0);
}
