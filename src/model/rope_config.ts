import type { GgufFile } from "../formats/gguf.ts";
import { LONG_ROPE_FACTORS } from "./rope_factors.ts";

/** Rotary position embedding. */
export interface RopeConfig {
  base: number;
  /** Leading dimensions of a head that are rotated, in pairs. */
  dimensions: number;
  /** Positions are divided by this: for all pairs (linear scaling) or by YaRN's ramp; 1 for none. */
  scale: number;
  yarn?: YarnRamp;
  long?: LongRope;
}

/** LongRoPE (Ding et al. 2024): every pair's frequency has a divisor of its own, and another in contexts beyond the original one. */
export interface LongRope {
  /** Tokens of context up to which the short divisors hold. */
  originalContext: number;
  /** Factor of cos and sin. */
  magnitude: number;
}

/** YaRN (Peng et al. 2023, section 3): which pairs are scaled, and by what queries and keys grow for it. */
export interface YarnRamp {
  /** Pairs up to this keep their frequency. */
  low: number;
  /** Pairs from this on are scaled as by linear scaling; those between are blended. */
  high: number;
  /** Factor of cos and sin. */
  magnitude: number;
}

/** What a model says of YaRN. */
export interface YarnOptions {
  factor: number;
  /** Tokens of context before the scaling. */
  originalContext: number;
  /** Rotations within the original context from which a pair keeps its frequency. Default 32. */
  betaFast?: number;
  /** Rotations up to which it is scaled in full. Default 1. */
  betaSlow?: number;
  /** Factor of cos and sin. Default 0.1 ln(factor) + 1. */
  magnitude?: number;
}

/** The ramp that YaRN's options mean for `dimensions` rotated dimensions of frequencies from 1 to nearly 1 / `base`. */
export function yarnRamp(base: number, dimensions: number, options: YarnOptions): YarnRamp {
  const { factor, originalContext, betaFast = 32, betaSlow = 1 } = options;
  // The pair that makes this many rotations within the original context.
  const pair = (rotations: number) =>
    dimensions * Math.log(originalContext / (rotations * 2 * Math.PI)) / (2 * Math.log(base));
  return {
    low: Math.max(0, Math.floor(pair(betaFast))),
    high: Math.min(dimensions - 1, Math.ceil(pair(betaSlow))),
    magnitude: options.magnitude ?? 0.1 * Math.log(factor) + 1,
  };
}

/**
 * Reads RoPE's fields, and whether the file has LongRoPE's divisors.
 *
 * @param contextLength tokens that the file gives as the model's context
 * @returns the context in tokens that YaRN reaches beside it, or `contextLength`
 * @throws `ModelFormatError` naming the field, its value and what was expected.
 */
export function readRope(
  { metadata, tensors }: GgufFile,
  architecture: string,
  headDim: number,
  contextLength: number,
): { rope: RopeConfig; contextLength: number } {
  const key = (field: string) => `${architecture}.rope.${field}`;
  const dimensions = metadata.integer(key("dimension_count"), 2, headDim, headDim);
  if (dimensions % 2 !== 0) throw metadata.error(key("dimension_count"), "an even number");
  const base = metadata.number(key("freq_base"), 10000);
  if (!(base > 0)) throw metadata.error(key("freq_base"), "a number above 0");
  // A factor without a type is linear scaling, as files from before there was a type have it.
  const type = metadata.string(key("scaling.type"), "linear");
  const factor = metadata.number(
    key("scaling.factor"),
    metadata.number(key("scale_linear"), 1),
  );
  if (tensors.has(LONG_ROPE_FACTORS.long) || type === "longrope") {
    if (type !== "longrope" && type !== "none" && (type !== "linear" || factor !== 1)) {
      throw metadata.error(key("scaling.type"), '"longrope", beside two sets of rope factors');
    }
    const originalContext = metadata.integer(
      key("scaling.original_context_length"),
      2,
      1 << 27,
      contextLength,
    );
    const grown = Math.log(Math.max(1, contextLength / originalContext));
    const magnitude = metadata.number(
      key("scaling.attn_factor"),
      Math.sqrt(1 + grown / Math.log(originalContext)),
    );
    if (magnitude <= 0) throw metadata.error(key("scaling.attn_factor"), "a number above 0");
    const long = { originalContext, magnitude };
    return { rope: { base, dimensions, scale: 1, long }, contextLength };
  }
  if (type !== "yarn" && metadata.number(key("scaling.attn_factor"), 1) !== 1) {
    throw metadata.error(key("scaling.attn_factor"), "1 without YaRN or LongRoPE");
  }
  if (type === "none") return { rope: { base, dimensions, scale: 1 }, contextLength };
  if (type === "linear") {
    return { rope: { base, dimensions, scale: factor > 0 ? factor : 1 }, contextLength };
  }
  if (type !== "yarn") {
    throw metadata.error(key("scaling.type"), '"none", "linear", "yarn" or "longrope"');
  }

  const positive = (field: string, otherwise: number): number => {
    const value = metadata.number(key(field), otherwise);
    if (value <= 0) throw metadata.error(key(field), "a number above 0");
    return value;
  };
  if (factor < 1) throw metadata.error(key("scaling.factor"), "at least 1");
  if (base <= 1) throw metadata.error(key("freq_base"), "a number above 1");
  if (metadata.number(key("scaling.yarn_ext_factor"), 1) !== 1) {
    throw metadata.error(key("scaling.yarn_ext_factor"), "1: other mixes are not supported");
  }
  if (metadata.number(key("scaling.yarn_log_multiplier"), 0) !== 0) {
    throw metadata.error(key("scaling.yarn_log_multiplier"), "0: it is not supported");
  }
  const originalContext = metadata.integer(
    key("scaling.original_context_length"),
    1,
    1 << 27,
    contextLength,
  );
  // `yarn_attn_factor` is the model's own magnitude; `attn_factor` comes on top of either.
  const magnitude = positive("scaling.yarn_attn_factor", 0.1 * Math.log(factor) + 1) *
    positive("scaling.attn_factor", 1);
  const yarn = yarnRamp(base, dimensions, {
    factor,
    originalContext,
    betaFast: positive("scaling.yarn_beta_fast", 32),
    betaSlow: positive("scaling.yarn_beta_slow", 1),
    magnitude,
  });
  return {
    rope: { base, dimensions, scale: factor, yarn },
    // Published configurations raise the factor and leave the context as it was.
    contextLength: Math.max(contextLength, Math.floor(factor * originalContext)),
  };
}
