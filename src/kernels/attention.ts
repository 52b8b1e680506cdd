import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments } from "./shader_files.ts";

/** Element type of cached keys and values. */
export type KvType = "f16" | "f32";

/** Sizes of attention that kernels and cache agree on. */
export interface AttentionShape {
  heads: number;
  kvHeads: number;
  /** True dimension of a head, a multiple of 4. */
  headDim: number;
  /** `headDim` padded to a multiple of 64: what queries and cache hold. */
  paddedHeadDim: number;
  /** Quads from one output row to the next. */
  outputRowQuads: number;
  kvType: KvType;
}

/** Which rows a call covers. */
export type AttentionWork =
  /** Blocks of up to `rows` successive tokens; grid (blocks, heads). */
  | { kind: "prefill"; blocks: GPUBuffer; rows: number }
  /** The last rows of the step, one a sequence; grid (sequences, heads / `decodeGroup`). */
  | { kind: "decode"; rows: GPUBuffer };

/** Query heads that one decode workgroup serves: those of a KV head, split while there are more than 8. */
export function decodeGroup({ heads, kvHeads }: AttentionShape): number {
  const ratio = heads / kvHeads;
  for (let group = Math.min(ratio, 8); group > 1; group--) {
    if (ratio % group === 0) return group;
  }
  return 1;
}

/**
 * Compiles exact attention over the pages of one layer.
 *
 * Cost: 4 · headDim operations per visible (query head, key); keys and values are read once per block of rows (prefill) or per group of
 * heads (decode).
 */
export async function createAttention(
  gpu: Gpu,
  shape: AttentionShape,
  work: AttentionWork,
  buffers: {
    step: GPUBuffer;
    query: GPUBuffer;
    keys: GPUBuffer;
    values: GPUBuffer;
    pages: GPUBuffer;
    output: GPUBuffer;
  },
): Promise<KernelCall> {
  const rows = work.kind === "prefill" ? work.rows : decodeGroup(shape);
  const shader = assembleShader(
    `attention ${work.kind} ${rows}`,
    shaderFragments(
      lanes(gpu),
      "lib/step",
      `attention/kv_load_${shape.kvType}`,
      `attention/attention_${work.kind}`,
      "attention/attention",
    ),
    { ROWS: rows, ROW_LOADS: Math.ceil(rows / 8), CHUNKS: shape.paddedHeadDim / 64 },
  );
  const pipeline = await gpu.pipelines.get(shader, "attention", {
    HEADS: shape.heads,
    KV_HEADS: shape.kvHeads,
    QUERIES_PER_KV: shape.heads / shape.kvHeads,
    OUTPUT_QUADS: shape.headDim / 4,
    OUTPUT_ROW_QUADS: shape.outputRowQuads,
  });
  return bindKernel(gpu, pipeline, {
    step: buffers.step,
    query: buffers.query,
    key_cache: buffers.keys,
    value_cache: buffers.values,
    pages: buffers.pages,
    output: buffers.output,
    ...(work.kind === "prefill" ? { blocks: work.blocks } : { rows: work.rows }),
  });
}
