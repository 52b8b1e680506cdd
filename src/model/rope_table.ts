import { ceilDiv } from "../common/math.ts";
import type { RopeConfig } from "./rope_config.ts";

/** Positions are split as 256 a + b; shaders/attention/finish_qkv.wgsl must agree. */
const FINE = 256;

/** Angle of a rotated pair from one position to the next, before a model's own `factors`. */
export function ropeFrequency(rope: RopeConfig, pair: number): number {
  const { base, dimensions, scale, yarn } = rope;
  const unscaled = base ** (-2 * pair / dimensions);
  if (!yarn) return unscaled / scale;
  const { low, high } = yarn;
  const scaled = Math.min(1, Math.max(0, (pair - low) / Math.max(0.001, high - low)));
  return unscaled * (1 - scaled + scaled / scale);
}

/**
 * cos and sin for RoPE by the addition theorem: rows of `paddedHeadDim / 2` pairs (cos, sin), 256 fine rows for b, then one coarse row per a.
 * Computed in f64: a table of 768 rows serves 128K positions with errors near 1e-7, where f32 angles would be off by 1e-2.
 * YaRN's and LongRoPE's magnitude is in the fine rows alone, since an angle's cos and sin are sums of products of a fine and a coarse one.
 *
 * @param positions positions the table must reach
 * @param factors divisor of each pair's frequency (llama 3's `rope_freqs`, or LongRoPE's), or undefined
 */
export function ropeTable(
  rope: RopeConfig,
  paddedHeadDim: number,
  positions: number,
  factors?: Float32Array,
): Float32Array<ArrayBuffer> {
  const pairs = paddedHeadDim / 2;
  const rows = FINE + ceilDiv(positions, FINE);
  const table = new Float32Array(rows * pairs * 2);
  for (let pair = 0; pair < pairs; pair++) {
    // Dimensions past the rotated ones, padding included, keep their values: angle 0.
    const rotated = pair < rope.dimensions / 2;
    const frequency = rotated ? ropeFrequency(rope, pair) / (factors?.[pair] ?? 1) : 0;
    const magnitude = rotated ? (rope.yarn ?? rope.long)?.magnitude ?? 1 : 1;
    for (let row = 0; row < rows; row++) {
      const position = row < FINE ? row : (row - FINE) * FINE;
      const length = row < FINE ? magnitude : 1;
      table[(row * pairs + pair) * 2] = length * Math.cos(position * frequency);
      table[(row * pairs + pair) * 2 + 1] = length * Math.sin(position * frequency);
    }
  }
  return table;
}
