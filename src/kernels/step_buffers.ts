import type { Gpu } from "../gpu/gpu.ts";
import { UniformStruct } from "../gpu/uniform.ts";
import { shaderFragments } from "./shader_files.ts";

/** Bytes of a `StepRow` in shaders/lib/step.wgsl. */
export const STEP_ROW_BYTES = 16;
/** Bytes of a `Sample` in shaders/lib/sample_struct.wgsl. */
export const SAMPLE_BYTES = 32;
/** Kinds of blocks, by height, of decoding rows that share pages. */
export const SHARED_TILES = 2;
/** Bytes of a block in shaders/attention/attention_shared.wgsl and of a prefill block in shaders/attention/attention_prefill.wgsl. */
export const BLOCK_BYTES = 16;

/** What a step tells its kernels; sizes are fixed at opening, so that bind groups live as long as the model. */
export class StepBuffers {
  readonly #gpu: Gpu;
  readonly #layout = new UniformStruct(shaderFragments("lib/step")[0].source, "StepUniform");
  readonly step: GPUBuffer;
  /** `StepRow` per token. */
  readonly rows: GPUBuffer;
  /** Page tables of the step's sequences, one after the other. */
  readonly pages: GPUBuffer;
  /** `Sample` per sampled row. */
  readonly samples: GPUBuffer;
  /** Which rows of the step those are. */
  sampledRows = new Uint32Array(0);
  /** Whose they are. */
  sampledSlots = new Uint32Array(0);
  /** Prefill work in blocks of many rows. */
  readonly largeBlocks: GPUBuffer;
  /** Prefill work in blocks of few rows. */
  readonly smallBlocks: GPUBuffer;
  /** Blocks of decoding rows that share pages, by kind. */
  readonly sharedBlocks: readonly GPUBuffer[];
  /** Per decoding row, the pages that its shared block attends to. */
  readonly pagesDone: GPUBuffer;

  /**
   * @param maxRows tokens in a step
   * @param maxSamples rows sampled in a step
   * @param maxPages page-table entries of all sequences of a step
   */
  constructor(
    gpu: Gpu,
    readonly maxRows: number,
    readonly maxSamples: number,
    readonly maxPages: number,
  ) {
    this.#gpu = gpu;
    const { buffers } = gpu;
    this.step = buffers.uniform("step", this.#layout.byteLength);
    this.rows = buffers.storage("step rows", maxRows * STEP_ROW_BYTES);
    this.pages = buffers.storage("step pages", maxPages * 4);
    this.samples = buffers.storage("step samples", maxSamples * SAMPLE_BYTES);
    this.largeBlocks = buffers.storage("prefill blocks", maxRows * BLOCK_BYTES);
    this.smallBlocks = buffers.storage("small prefill blocks", maxRows * BLOCK_BYTES);
    this.sharedBlocks = Array.from(
      { length: SHARED_TILES },
      () => buffers.storage("shared blocks", maxRows * BLOCK_BYTES),
    );
    this.pagesDone = buffers.storage("pages done", maxRows * 4);
  }

  /** Uploads `Sample`s, whose first words are row and slot. */
  writeSamples(samples: Uint8Array<ArrayBuffer>): void {
    const words = new Uint32Array(samples.buffer, samples.byteOffset, samples.byteLength / 4);
    this.sampledRows = words.filter((_, i) => i % (SAMPLE_BYTES / 4) === 0);
    this.sampledSlots = words.filter((_, i) => i % (SAMPLE_BYTES / 4) === 1);
    if (samples.length > 0) this.#gpu.buffers.write(this.samples, 0, samples);
  }

  /** Uploads the counts of this step. */
  writeCounts(
    counts: { rows: number; samples: number; decodes: number; prefillEnd?: number },
  ): void {
    this.#gpu.buffers.write(this.step, 0, this.#layout.pack({ prefillEnd: 0, ...counts }));
  }
}
