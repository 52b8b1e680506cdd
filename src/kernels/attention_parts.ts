/** What the kernels of attention have in common. @module */
import type { AttentionBuffers } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";

/**
 * Query heads that one decode workgroup serves: those of a KV head, split while there are more than 8, or 4 of dimension 256, whose
 * scores and queries would not fit the 16 KiB of workgroup memory that WebGPU guarantees.
 */
export function decodeGroup({ heads, kvHeads, paddedHeadDim }: AttentionShape): number {
  const ratio = heads / kvHeads;
  for (let group = Math.min(ratio, paddedHeadDim > 128 ? 4 : 8); group > 1; group--) {
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

/** Constants of kernels that map query heads to key/value heads. */
export function headConstants({ heads, kvHeads }: AttentionShape): Record<string, number> {
  return { HEADS: heads, KV_HEADS: kvHeads, QUERIES_PER_KV: heads / kvHeads };
}

/** Constants of kernels that write attention's output. */
export function outputConstants(
  { headDim, outputRowQuads }: AttentionShape,
): Record<string, number> {
  return { OUTPUT_QUADS: headDim / 4, OUTPUT_ROW_QUADS: outputRowQuads };
}

/** Bindings that all kernels over the cache share. */
export function cacheBindings(
  { step, query, keys, values }: AttentionBuffers,
): Record<string, GPUBuffer> {
  return { step: step.step, query, key_cache: keys, value_cache: values, pages: step.pages };
}
