/** Element type of cached keys and values. */
export type KvType = "f16" | "f32";

/** Sizes of attention that kernels and cache agree on. */
export interface AttentionShape {
  heads: number;
  kvHeads: number;
  /** True dimension of a head, a multiple of 4. */
  headDim: number;
  /** `headDim` padded to 64, 128 or 256: what queries and cache hold. */
  paddedHeadDim: number;
  /** Quads from one output row to the next. */
  outputRowQuads: number;
  kvType: KvType;
}
