import type { Gpu } from "../gpu/gpu.ts";
import { ADJUSTED_BYTES } from "../kernels/adjust.ts";
import type { StepRow } from "./step.ts";
import type { SamplingOptions } from "./types.ts";

/** Most that a token's count goes to. */
const MOST = 0xffff;

/** Uploads the biases and penalties of a step's rows; tokens sampled later are counted on the GPU. */
export class TokenAdjustments {
  readonly #gpu: Gpu;
  readonly #adjusted: GPUBuffer;
  readonly #table: GPUBuffer;
  readonly #vocabulary: number;
  /** Slots whose rows of the table are those of the sequence that holds them. */
  readonly #written = new Set<number>();

  constructor(
    gpu: Gpu,
    { adjusted, adjustments }: { adjusted: GPUBuffer; adjustments: GPUBuffer },
    vocabulary: number,
  ) {
    this.#gpu = gpu;
    this.#adjusted = adjusted;
    this.#table = adjustments;
    this.#vocabulary = vocabulary;
  }

  /** Uploads what the sampled rows of `batch` ask for; returns how many of them ask for something. */
  prepare(batch: readonly StepRow[]): number {
    const sampled = batch.filter((row) => row.sample);
    const wanted = sampled.flatMap((row, index) =>
      isAdjusted(row.sampling) ? [{ row, index }] : []
    );
    if (wanted.length === 0) return 0;
    const view = new DataView(new ArrayBuffer(wanted.length * ADJUSTED_BYTES));
    wanted.forEach(({ row, index }, i) => {
      const { slot, sampling: { presencePenalty = 0, frequencyPenalty = 0 } } = row;
      const counted = this.#written.has(slot);
      if (!counted) this.#write(row);
      const at = i * ADJUSTED_BYTES;
      [index, slot, Number(counted)].forEach((word, j) => view.setUint32(at + j * 4, word, true));
      view.setFloat32(at + 12, presencePenalty, true);
      view.setFloat32(at + 16, frequencyPenalty, true);
    });
    this.#gpu.buffers.write(this.#adjusted, 0, new Uint8Array(view.buffer));
    return wanted.length;
  }

  /** The sequence of a slot has left. */
  leave(slot: number): void {
    this.#written.delete(slot);
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
