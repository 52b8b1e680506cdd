import type { KvType } from "../kernels/attention_shape.ts";
import type { LoadProgress } from "./weights.ts";

/** Sizes fixed when a model is opened. */
export interface TransformerOptions {
  /** KV pages of 64 tokens. */
  pages: number;
  /** Most tokens in a step. */
  maxRows: number;
  /** Most sequences in a step, and rows sampled in one. */
  maxSequences: number;
  /** Longest sequence in tokens. */
  contextLength: number;
  kvType: KvType;
  /** Whether decoding rows that share pages may attend to them together. Default true. */
  sharedAttention?: boolean;
  onProgress?: LoadProgress;
}
