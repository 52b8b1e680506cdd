import type { Gpu } from "../gpu/gpu.ts";
import { decodeGroup, decodeSpans } from "./attention_parts.ts";
import type { AttentionShape } from "./attention_shape.ts";
import { SHARED_TILES } from "./step_buffers.ts";

/** How decoding rows that share pages may be put into blocks, and what that costs. */
export interface SharedTiles {
  /** Rows that a block holds, by kind, tallest first: at least 2, at most `SHARED_TILES` kinds. None: nothing is shared. */
  rows: readonly number[];
  /** Pages are shared in multiples of so many. */
  pages: number;
  /** Whether each such multiple is a workgroup's work of its own (split-KV), or a workgroup takes all pages of its rows. */
  splits: boolean;
  /** Query heads of a row that a workgroup serves. */
  queries: number;
  /** Workgroups for all heads of a row. */
  groups: number;
  /** Loading and converting a page costs as much as the arithmetic of so many queries with it. */
  loadQueries: number;
  /** Workgroups that the device runs at a time. */
  parallel: number;
  /** What the dispatches of shared blocks cost, in queries times pages. */
  overhead: number;
}

/** Blocks of decoding rows that share pages, for a device and a shape. */
export function sharedTiles(gpu: Gpu, shape: AttentionShape, contextPages: number): SharedTiles {
  const queries = decodeGroup(shape);
  const groups = shape.heads / queries;
  if (gpu.kernels === "lanes") {
    // Blocks of 32, 16 and 8 queries of dimension 64. Measured (llvmpipe, 2 cores, 3 queries a row, 3,072 keys, best of 14): a row alone
    // 0.55 to 0.8 ms; in blocks of 2, 5, 10 and 16 rows 0.36, 0.26, 0.24 and 0.22 ms. The two lower kinds are taken: most of the gain
    // with the least padding, and more blocks for more cores.
    const kinds = [2048, 1024, 512].map((floats) =>
      Math.floor(floats / shape.paddedHeadDim / queries)
    );
    return {
      rows: kinds.filter((rows) => rows >= 2).slice(-SHARED_TILES),
      pages: 1,
      splits: false,
      queries,
      groups,
      // The same measurement is 0.30 ms + 0.068 ms a query.
      loadQueries: 4.4,
      parallel: navigator.hardwareConcurrency,
      // Measured likewise: from 2 rows on 1,024 to 2,048 keys, 5 rows on 512 and 8 rows on 256 are where sharing begins to gain. A query
      // and page take 1.4 µs, three dispatches instead of one 80 to 120 µs.
      overhead: 80,
    };
  }
  // Scores and queries of a row in workgroup memory, beside what all share: attention_split.wgsl.
  const memory = gpu.device.limits.maxComputeWorkgroupStorageSize;
  const most = Math.min(16, Math.floor((memory - 4096) / (4 * shape.paddedHeadDim + 576)));
  const rows = Math.floor(most / queries);
  return {
    rows: rows >= 2 ? [rows] : [],
    pages: decodeSpans(contextPages).spanPages,
    splits: true,
    queries,
    groups,
    // Counted from the kernel, where an element costs two loads, its share of a conversion and, per query, two multiply-adds. An H200 does not
    // bear it out where the prefix fits its cache (sparrow-tiny behind 6K shared tokens: steps of 8 and 32 rows at 1.10 and 0.72 of the speed
    // without blocks), so runners share only when told to.
    loadQueries: 2,
    // Enough workgroups of 64 threads for a large GPU: fewer, larger ones would leave it idle.
    parallel: 512,
    overhead: 80,
  };
}
