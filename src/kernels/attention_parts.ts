/** What the kernels of attention have in common. @module */
import type { AttentionBuffers } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";
import type { ShaderPath } from "./shader_files.ts";

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

/**
 * Pages that one workgroup of decode attention takes in the wide family, and how many spans a context then has. A workgroup waits for memory most
 * of its time, so short spans, of which a large GPU runs hundreds at once, finish sooner; but their partial results take memory for every sequence. (One H200,
 * 32 query heads of 128 on 8, us for one row of 640, 8K, 32K and 131K keys: 8 pages 37, 38, 62, 209; 4 pages 25, 38, 66, 223 and 14 more to join them.)
 */
export function decodeSpans(contextPages: number): { spanPages: number; spans: number } {
  const spanPages = Math.max(4, Math.ceil(contextPages / 256));
  return { spanPages, spans: Math.ceil(contextPages / spanPages) };
}

/**
 * Pages of a span of prefill attention in the wide family. A workgroup that takes all spans joins them so often. (One H200, 32 query heads of 128 on 8: 2,048 rows
 * behind 32K take 42.5 ms, as with spans of 64 pages; 16 rows in workgroups of a span each 0.20 ms behind 8K and 2.59 behind 128K, 0.54 and 2.74 with spans of 64,
 * 1.14 and 21.87 in one piece.)
 */
export const PREFILL_SPAN_PAGES = 16;

/** Keys of a round of decode attention in the wide family, one for each thread. */
const SPLIT_KEYS = 128;
/** Loads of 8 elements of a key that stand together. */
const SPLIT_UNROLL = 4;

/**
 * Constants of `attention_split.wgsl` for so many query heads. (One H200, as above, us for one row of 640 and 131K keys and for 8 rows of 32K: 256 keys and 8 loads
 * 32, 255, 481; 256 and 4 29, 239, 443; 128 and 8 42, 213, 405; 128 and 4 37, 209, 391; 64 and 8 66, 244, 461.)
 */
export function splitConstants(rows: number): Record<string, number> {
  return {
    ROWS: rows,
    KEYS: SPLIT_KEYS,
    UNROLL: rows > 8 ? 1 : SPLIT_UNROLL,
    // Scores of all keys; at the end 8 sums of every thread.
    TILE_QUADS: Math.max(2 * SPLIT_KEYS, rows * SPLIT_KEYS / 4),
  };
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

/** Fragments of kernels whose rows see `sliding` of their latest tokens. */
export function windowFragments(sliding: number | undefined): ShaderPath[] {
  return sliding === undefined ? [] : ["attention/sliding_window"];
}

/** For the text of a shader: whether rows see a window of their latest tokens. */
export function windowed(sliding: number | undefined): Record<string, number> {
  return { WINDOWED: sliding === undefined ? 0 : 1 };
}

/** Constants of kernels whose rows see `sliding` of their latest tokens. */
export function windowConstants(sliding: number | undefined): Record<string, number> {
  return sliding === undefined ? {} : { WINDOW: sliding };
}

/** Bindings that all kernels over the cache share. */
export function cacheBindings(
  { step, query, keys, values }: AttentionBuffers,
): Record<string, GPUBuffer> {
  return { step: step.step, query, key_cache: keys, value_cache: values, pages: step.pages };
}
