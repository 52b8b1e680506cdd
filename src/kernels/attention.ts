import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionShape } from "./attention_shape.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments, type ShaderPath } from "./shader_files.ts";
import type { StepBuffers } from "./step_buffers.ts";

/** Blocks of prefill rows and decoding rows of a step. */
export interface AttentionWork {
  largeBlocks: number;
  smallBlocks: number;
  decodes: number;
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

/** Partial results of decode attention in the wide family. */
export interface AttentionScratch {
  partial: GPUBuffer;
  state: GPUBuffer;
}

/** Rows of the short blocks that the ends of chunks are cut into. */
export const SMALL_BLOCK_ROWS = 8;

/** Rows of a prefill block: taller ones spill more registers than they save loads, the more so the larger the head. */
export function largeBlockRows(gpu: Gpu, paddedHeadDim: number): number {
  return gpu.kernels === "wide" ? 32 : 2048 / paddedHeadDim;
}

/** Query heads that one decode workgroup serves: those of a KV head, split while there are more than 8. */
export function decodeGroup({ heads, kvHeads }: AttentionShape): number {
  const ratio = heads / kvHeads;
  for (let group = Math.min(ratio, 8); group > 1; group--) {
    if (ratio % group === 0) return group;
  }
  return 1;
}

/** Pages that one workgroup of decode attention takes in the wide family, and how many spans a context then has. */
export function decodeSpans(contextPages: number): { spanPages: number; spans: number } {
  // 512 tokens keep a workgroup busy for long enough; 64 spans of one (sequence, KV head) fill a large GPU.
  const spanPages = Math.max(8, Math.ceil(contextPages / 64));
  return { spanPages, spans: Math.ceil(contextPages / spanPages) };
}

/** Allocates partial results for `maxSequences` decoding sequences; empty in the lanes family, which needs none. */
export function createAttentionScratch(
  gpu: Gpu,
  shape: AttentionShape,
  maxSequences: number,
  contextPages: number,
): AttentionScratch {
  const slots = gpu.kernels === "wide"
    ? maxSequences * decodeSpans(contextPages).spans * shape.heads
    : 0;
  return {
    partial: gpu.buffers.storage("partial attention", slots * shape.paddedHeadDim * 4),
    state: gpu.buffers.storage("partial attention state", slots * 8),
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

  static async create(
    gpu: Gpu,
    shape: AttentionShape,
    contextPages: number,
    buffers: AttentionBuffers,
  ): Promise<Attention> {
    return new Attention(
      gpu.kernels === "lanes"
        ? await createLanes(gpu, shape, buffers)
        : await createWide(gpu, shape, contextPages, buffers),
    );
  }

  /** Records attention for every row of the step. */
  record(pass: StepPass, work: AttentionWork): void {
    this.#record(pass, work);
  }
}

async function createLanes(
  gpu: Gpu,
  shape: AttentionShape,
  buffers: AttentionBuffers,
): Promise<(pass: StepPass, work: AttentionWork) => void> {
  const compile = async (
    split: ShaderPath,
    rows: number,
    own: { blocks: GPUBuffer } | { rows: GPUBuffer },
  ) => {
    const shader = assembleShader(
      `${split} ${rows}`,
      shaderFragments(
        lanes(gpu),
        "lib/step",
        `attention/kv_load_${shape.kvType}`,
        split,
        "attention/attention",
      ),
      { ROWS: rows, ROW_LOADS: Math.ceil(rows / 8), CHUNKS: shape.paddedHeadDim / 64 },
    );
    const pipeline = await gpu.pipelines.get(shader, "attention", {
      ...headConstants(shape),
      ...outputConstants(shape),
    });
    return bindKernel(gpu, pipeline, { ...cacheBindings(buffers), output: buffers.output, ...own });
  };
  const { step } = buffers;
  const [large, small, decode] = await Promise.all([
    compile("attention/attention_prefill", largeBlockRows(gpu, shape.paddedHeadDim), {
      blocks: step.largeBlocks,
    }),
    compile("attention/attention_prefill", SMALL_BLOCK_ROWS, { blocks: step.smallBlocks }),
    compile("attention/attention_decode", decodeGroup(shape), { rows: step.rows }),
  ]);
  const groups = shape.heads / decodeGroup(shape);
  return (pass, { largeBlocks, smallBlocks, decodes }) => {
    pass.dispatch(large, [largeBlocks, shape.heads]);
    pass.dispatch(small, [smallBlocks, shape.heads]);
    pass.dispatch(decode, [decodes, groups]);
  };
}

async function createWide(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
): Promise<(pass: StepPass, work: AttentionWork) => void> {
  const { step, output, scratch } = buffers;
  const chunks = { CHUNKS: shape.paddedHeadDim / 64 };
  const load: ShaderPath[] = ["lib/step", `attention/kv_load_${shape.kvType}`];
  const { spanPages, spans } = decodeSpans(contextPages);
  const spanConstants = { SPAN_PAGES: spanPages, SPANS: spans };
  const prefill = async (blocks: GPUBuffer): Promise<KernelCall> => {
    const shader = assembleShader(
      "attention_tiled",
      shaderFragments(...load, "attention/attention_tiled"),
      chunks,
    );
    const constants = { ...headConstants(shape), ...outputConstants(shape) };
    const pipeline = await gpu.pipelines.get(shader, "attention_tiled", constants);
    return bindKernel(gpu, pipeline, { ...cacheBindings(buffers), output, blocks });
  };
  const splitDecode = async (): Promise<KernelCall> => {
    const shader = assembleShader(
      "attention_split",
      shaderFragments(...load, "attention/attention_split"),
      {
        ...chunks,
        ROWS: decodeGroup(shape),
      },
    );
    const pipeline = await gpu.pipelines.get(shader, "attention_split", {
      ...headConstants(shape),
      ...spanConstants,
    });
    const { partial, state } = scratch;
    return bindKernel(gpu, pipeline, {
      ...cacheBindings(buffers),
      rows: step.rows,
      partial,
      partial_state: state,
    });
  };
  const mergeSpans = async (): Promise<KernelCall> => {
    const shader = assembleShader(
      "attention_merge",
      shaderFragments("lib/step", "attention/attention_merge"),
      chunks,
    );
    const constants = { HEADS: shape.heads, ...spanConstants, ...outputConstants(shape) };
    const pipeline = await gpu.pipelines.get(shader, "attention_merge", constants);
    const { partial, state } = scratch;
    return bindKernel(gpu, pipeline, {
      step: step.step,
      rows: step.rows,
      partial,
      partial_state: state,
      output,
    });
  };
  const [large, small, split, merge] = await Promise.all([
    prefill(step.largeBlocks),
    prefill(step.smallBlocks),
    splitDecode(),
    mergeSpans(),
  ]);
  const groups = shape.heads / decodeGroup(shape);
  return (pass, { largeBlocks, smallBlocks, decodes }) => {
    pass.dispatch(large, [largeBlocks, shape.heads]);
    pass.dispatch(small, [smallBlocks, shape.heads]);
    pass.dispatch(split, [decodes, groups, spans]);
    pass.dispatch(merge, [decodes, shape.heads]);
  };
}

function headConstants({ heads, kvHeads }: AttentionShape): Record<string, number> {
  return { HEADS: heads, KV_HEADS: kvHeads, QUERIES_PER_KV: heads / kvHeads };
}

function outputConstants({ headDim, outputRowQuads }: AttentionShape): Record<string, number> {
  return { OUTPUT_QUADS: headDim / 4, OUTPUT_ROW_QUADS: outputRowQuads };
}

function cacheBindings({ step, query, keys, values }: AttentionBuffers): Record<string, GPUBuffer> {
  return { step: step.step, query, key_cache: keys, value_cache: values, pages: step.pages };
}
