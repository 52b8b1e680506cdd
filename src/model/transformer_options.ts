import type { KvType } from "../kernels/attention_shape.ts";
import type { LoadProgress } from "./weights.ts";

/**
 * What quantised weights are multiplied with: numbers as they are, or rounded to bytes, each 32 by the largest of them; logits are never. Bytes are for the wide
 * family of kernels, all of prefill and large matrices in decode; the other has no use for them.
 */
export type Activations = "f32" | "int8";

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
  /** What quantised weights are multiplied with. Default "f32". */
  activations?: Activations;
  /** Whether the native library computes layers and logits, for which a software adapter takes several times as long; with keys and values in half precision only. Default false. */
  nativeLayers?: boolean;
  onProgress?: LoadProgress;
}
