import type { LutPattern } from "../../ffi/lut_cascade.ts";

/** Index patterns by name. `s`, `d` and `y` are MuLUT's (ECCV 2022, section 3); `e` ("hook") is ours. */
export const patterns = {
  s: [[0, 0], [0, 1], [1, 0], [1, 1]],
  d: [[0, 0], [0, 2], [2, 0], [2, 2]],
  y: [[0, 0], [1, 1], [1, 2], [2, 1]],
  e: [[0, 0], [0, 1], [0, 2], [1, 0]],
} as const satisfies Record<PatternName, LutPattern>;

/** A key of `patterns`. */
export type PatternName = "s" | "d" | "y" | "e";

/**
 * The pattern's offsets in an image turned by `quarter` quarter turns, seen from the unturned one; turns are about the middle of the
 * `step` x `step` pixels of a place.
 */
export function turnPattern(pattern: LutPattern, quarter: number, step = 1): LutPattern {
  const end = step - 1;
  return pattern.map(([y, x]) => {
    switch (quarter) {
      case 0:
        return [y, x];
      case 1:
        return [x, end - y];
      case 2:
        return [end - y, end - x];
      default:
        return [end - x, y];
    }
  });
}

/** For each output of an `s` x `s` block, the place in the table row that it takes under `quarter` quarter turns. */
export function turnBlock(s: number, quarter: number): number[] {
  return Array.from({ length: s * s }, (_, o) => {
    const y = Math.floor(o / s), x = o % s;
    switch (quarter) {
      case 0:
        return y * s + x;
      case 1:
        return (s - 1 - x) * s + y;
      case 2:
        return (s - 1 - y) * s + s - 1 - x;
      default:
        return x * s + s - 1 - y;
    }
  });
}
