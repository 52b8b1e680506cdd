import { ceilDiv } from "../common/math.ts";
import type { RopeConfig } from "./config.ts";

/** Positions are split as 256 a + b; shaders/attention/finish_qkv.wgsl must agree. */
const FINE = 256;

/**
 * cos and sin for RoPE by the addition theorem: rows of `paddedHeadDim / 2` pairs (cos, sin), 256 fine rows for b, then one coarse row per a.
 * Computed in f64: a table of 768 rows serves 128K positions with errors near 1e-7, where f32 angles would be off by 1e-2.
 *
 * @param positions positions the table must reach
 * @param factors divisor of each pair's frequency (llama 3's `rope_freqs`), or undefined
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
    const frequency = rotated
      ? rope.base ** (-2 * pair / rope.dimensions) / rope.scale / (factors?.[pair] ?? 1)
      : 0;
    for (let row = 0; row < rows; row++) {
      const position = row < FINE ? row : (row - FINE) * FINE;
      table[(row * pairs + pair) * 2] = Math.cos(position * frequency);
      table[(row * pairs + pair) * 2 + 1] = Math.sin(position * frequency);
    }
  }
  return table;
}
