import type { Rng } from "../../src/common/rng.ts";
import type { LutStage } from "../../ffi/lut_cascade.ts";
import type { LutFusionModel, LutLayer } from "../../ffi/lut_fusion.ts";
import { patterns } from "../../src/lut/patterns.ts";

/** Random int8 without -128, as tables have. */
export function noise(rng: Rng, length: number): Int8Array<ArrayBuffer> {
  return Int8Array.from({ length }, () => rng.integer(255) - 127);
}

/** A frame of flat runs, ramps and noise: ties and extremes of the simplex sort. */
export function roughFrame(rng: Rng, width: number, height: number): Uint8Array<ArrayBuffer> {
  let kind = 0, flat = 0;
  return Uint8Array.from({ length: width * height }, (_, i) => {
    if (i % 13 === 0) {
      kind = rng.integer(4);
      flat = rng.integer(256);
    }
    return [flat, 255, (i * 5) & 255, rng.integer(256)][kind];
  });
}

/** A stage with random tables. */
export function randomStage(rng: Rng, overrides: Partial<LutStage> = {}): LutStage {
  const stage = {
    scale: 4,
    shift: 5,
    rotations: 4 as const,
    divisor: 64,
    bias: 0,
    centre: true,
    patterns: [patterns.s, patterns.e],
    ...overrides,
  };
  const values = ((256 >> stage.shift) + 1) ** 4 * stage.scale ** 2;
  return { ...stage, tables: stage.patterns.map(() => noise(rng, values)) };
}

function layer(rng: Rng, inputs: number, outputs: number): LutLayer {
  return {
    inputs,
    outputs,
    weights: noise(rng, outputs * 9 * inputs),
    bias: Int32Array.from({ length: outputs }, () => rng.integer(20000) - 10000),
    shifts: Uint8Array.from({ length: outputs }, () => 4 + rng.integer(8)),
  };
}

/** A fusion with random tables and nets. */
export function randomFusion(
  rng: Rng,
  scale: number,
  experts: number,
  channels = 16,
): LutFusionModel {
  return {
    scale,
    shift: 5,
    divisorShift: 8,
    experts,
    patterns: [patterns.s, patterns.e],
    tables: [0, 1].map(() => noise(rng, experts * 9 ** 4 * scale ** 2)),
    gates: [layer(rng, 8, 16), layer(rng, 16, 16), layer(rng, 16, experts)],
    trunk: [
      layer(rng, 4, channels),
      layer(rng, channels, channels),
      layer(rng, channels, scale ** 2),
    ],
  };
}
