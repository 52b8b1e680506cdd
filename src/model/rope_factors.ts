/** Tensors with divisors of RoPE's frequencies, one a rotated pair. @module */

/** For contexts of any length; a file may have it. */
export const ROPE_FACTORS = "rope_freqs.weight";

/** For contexts up to the original length and beyond it: LongRoPE. */
export const LONG_ROPE_FACTORS = {
  short: "rope_factors_short.weight",
  long: "rope_factors_long.weight",
};
