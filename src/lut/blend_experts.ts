import type { LutStage } from "../../ffi/lut_cascade.ts";
import type { SingleExperts } from "./model_file.ts";
import { patterns } from "./patterns.ts";

/**
 * One stage that stands for all experts under one weight for each in every pixel: a frame then costs one table however many
 * experts there are. Entries round to whole table steps.
 */
export function blendExperts(experts: SingleExperts, weights: ArrayLike<number>): LutStage {
  const tables = experts.tables.map((levels) => {
    const sum = new Float32Array(levels[0].length);
    levels.forEach((table, level) => {
      const weight = weights[level];
      if (weight === 0) return;
      for (let i = 0; i < sum.length; i++) sum[i] += weight * table[i];
    });
    return Int8Array.from(sum, (value) => Math.max(-127, Math.min(127, Math.round(value))));
  });
  return {
    scale: experts.scale,
    shift: experts.shift,
    rotations: 4,
    divisor: experts.divisor,
    bias: 0,
    centre: true,
    patterns: experts.patterns.map((name) => patterns[name]),
    tables,
  };
}
