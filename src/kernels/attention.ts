import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionShape } from "./attention_shape.ts";
import {
  cacheBindings,
  decodeSpans,
  headConstants,
  outputConstants,
  PREFILL_SPAN_PAGES,
  windowConstants,
  windowed,
  windowFragments,
} from "./attention_parts.ts";
import { createDecodeAttention } from "./decode_attention.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments } from "./shader_files.ts";
import type { StepBuffers } from "./step_buffers.ts";
import { createTiledAttention } from "./tiled_attention.ts";

export { decodeGroup } from "./attention_parts.ts";
export { type SharedTiles, sharedTiles } from "./shared_tiles.ts";

/** Blocks of prefill rows and decoding rows of a step. */
export interface AttentionWork {
  largeBlocks: number;
  smallBlocks: number;
  /** Rows of all those blocks, the step's first. */
  prefillRows: number;
  /** Keys that the prefill row with most of them sees. */
  prefillEnd: number;
  decodes: number;
  /** Blocks of decoding rows that share pages, by kind: `sharedTiles`. Default: no row shares any. */
  shared?: readonly number[];
}

/** What attention reads and writes. `scratch` may be shared by layers, which run one after the other. */
export interface AttentionBuffers {
  step: StepBuffers;
  query: GPUBuffer;
  keys: GPUBuffer;
  values: GPUBuffer;
  output: GPUBuffer;
  scratch: AttentionScratch;
}

/** Partial results of attention. */
export interface AttentionScratch {
  /** Of the spans of rows, in the wide family. */
  partial: GPUBuffer;
  state: GPUBuffer;
  /** Of the pages that a row shares, in the lanes family. */
  carried: GPUBuffer;
}

/** Rows of the short blocks that the ends of chunks are cut into. */
export const SMALL_BLOCK_ROWS = 8;

/** Rows of a prefill block: taller ones spill more registers than they save loads, the more so the larger the head. */
export function largeBlockRows(gpu: Gpu, paddedHeadDim: number): number {
  return gpu.kernels === "wide" ? 32 : 2048 / paddedHeadDim;
}

/** Allocates partial results for `maxSequences` decoding sequences or, one after the other, some prefill rows; each family needs its own. */
export function createAttentionScratch(
  gpu: Gpu,
  shape: AttentionShape,
  maxSequences: number,
  contextPages: number,
): AttentionScratch {
  const wide = gpu.kernels === "wide";
  // Of every decoding sequence, and of a block of prefill rows at least.
  const parts = Math.max(
    maxSequences * decodeSpans(contextPages).spans,
    largeBlockRows(gpu, shape.paddedHeadDim) * Math.ceil(contextPages / PREFILL_SPAN_PAGES),
  );
  const slots = wide ? parts * shape.heads : 0;
  // Per row and head the output so far, and of each lane a quad with its sum and the maximum.
  const carried = wide ? 0 : maxSequences * shape.heads * (shape.paddedHeadDim * 4 + 128);
  return {
    partial: gpu.buffers.storage("partial attention", slots * shape.paddedHeadDim * 4),
    state: gpu.buffers.storage("partial attention state", slots * 8),
    carried: gpu.buffers.storage("carried attention", carried),
  };
}

/**
 * Exact attention over the pages of one layer.
 *
 * Cost: 4 · headDim operations per visible (query head, key); keys and values are read once per block of rows (prefill) or per group of
 * heads (decode).
 */
export class Attention {
  readonly #record: (pass: StepPass, work: AttentionWork) => void;

  private constructor(record: (pass: StepPass, work: AttentionWork) => void) {
    this.#record = record;
  }

  /** @param sliding how many of its latest tokens a row sees, its own included; default all */
  static async create(
    gpu: Gpu,
    shape: AttentionShape,
    contextPages: number,
    buffers: AttentionBuffers,
    sliding?: number,
  ): Promise<Attention> {
    const create = gpu.kernels === "lanes" ? createLanes : createWide;
    return new Attention(await create(gpu, shape, contextPages, buffers, sliding));
  }

  /** Records attention for every row of the step. */
  record(pass: StepPass, work: AttentionWork): void {
    this.#record(pass, work);
  }
}

async function createLanes(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  sliding: number | undefined,
): Promise<(pass: StepPass, work: AttentionWork) => void> {
  const prefill = async (rows: number, blocks: GPUBuffer): Promise<KernelCall> => {
    const shader = assembleShader(
      `attention_prefill ${rows}`,
      shaderFragments(
        lanes(gpu),
        "lib/step",
        `attention/kv_load_${shape.kvType}`,
        "attention/attention_prefill",
        "attention/none_done",
        "attention/from_start",
        "attention/mass_dropped",
        "attention/to_output",
        ...windowFragments(sliding),
        "attention/attention",
      ),
      {
        ROWS: rows,
        ROW_LOADS: Math.ceil(rows / 8),
        CHUNKS: shape.paddedHeadDim / 64,
        ...windowed(sliding),
      },
    );
    const pipeline = await gpu.pipelines.get(shader, "attention", {
      ...headConstants(shape),
      ...outputConstants(shape),
      ...windowConstants(sliding),
    });
    return bindKernel(gpu, pipeline, { ...cacheBindings(buffers), output: buffers.output, blocks });
  };
  const { step } = buffers;
  const [large, small, decode] = await Promise.all([
    prefill(largeBlockRows(gpu, shape.paddedHeadDim), step.largeBlocks),
    prefill(SMALL_BLOCK_ROWS, step.smallBlocks),
    createDecodeAttention(gpu, shape, contextPages, buffers, undefined, sliding),
  ]);
  return (pass, { largeBlocks, smallBlocks, decodes, shared }) => {
    pass.dispatch(large, [largeBlocks, shape.heads]);
    pass.dispatch(small, [smallBlocks, shape.heads]);
    decode(pass, decodes, shared);
  };
}

async function createWide(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  sliding: number | undefined,
): Promise<(pass: StepPass, work: AttentionWork) => void> {
  const [prefill, decode] = await Promise.all([
    createTiledAttention(gpu, shape, buffers, sliding),
    createDecodeAttention(gpu, shape, contextPages, buffers, undefined, sliding),
  ]);
  return (pass, work) => {
    prefill(pass, work);
    decode(pass, work.decodes, work.shared);
  };
}
