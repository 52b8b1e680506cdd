import { assertEquals, assertNotEquals } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { Rng } from "../../src/common/rng.ts";
import type { LutScale } from "../../src/lut/model_file.ts";
import { GpuPath } from "../../src/lut/gpu_path.ts";
import { NativePath } from "../../src/lut/native_path.ts";
import { patterns } from "../../src/lut/patterns.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";
import { randomFusion, randomStage, roughFrame } from "./lut_models.ts";

const gpu = await openTestGpu();
nativeProblem();

const sizes = [[1, 1], [2, 5], [3, 3], [7, 4], [64, 2], [65, 9], [33, 17], [130, 6]] as const;

gpuTest(
  "GpuPath.cascade gives the bytes of the Rust library at odd sizes, scales and rotations",
  async () => {
    if (!needsNative({ name: "GpuPath.cascade" } as Deno.TestContext)) return;
    const rng = new Rng(3);
    for (const scale of [2, 3, 4]) {
      for (const rotations of [1, 4] as const) {
        const stages = [
          randomStage(rng, {
            scale: 1,
            shift: 4,
            divisor: 192,
            bias: 127 * 192,
            centre: false,
            patterns: [patterns.s, patterns.d, patterns.y],
            rotations,
          }),
          randomStage(rng, { scale, divisor: 48, centre: scale === 4, rotations }),
        ];
        const models = [randomFusion(rng, scale, 1)];
        using device = new GpuPath(gpu, models);
        using native = new NativePath(models);
        device.setStages(stages);
        native.setStages(stages);
        for (const [w, h] of sizes) {
          const frame = roughFrame(rng, w, h);
          assertEquals(
            await device.cascade(frame, w, h),
            native.cascade(frame, w, h),
            `${w}x${h} x${scale}`,
          );
        }
      }
    }
  },
);

gpuTest(
  "GpuPath.cascade gives the bytes of the Rust library where a stage reads the phases of the one before",
  async () => {
    if (!needsNative({ name: "GpuPath.cascade" } as Deno.TestContext)) return;
    const rng = new Rng(5);
    for (const scale of [2, 4]) {
      const stages = [
        randomStage(rng, { scale: 2, divisor: 256, patterns: [patterns.y, patterns.e] }),
        randomStage(rng, {
          scale,
          step: 2,
          divisor: 96,
          centre: scale === 4,
          patterns: [
            [[0, 0], [-6, 1], [6, 3], [2, -5]],
            [[1, 1], [0, 1], [1, 0], [0, 0]],
            [[-1, -1], [5, 0], [0, 4], [3, 3]],
          ],
        }),
      ];
      const models = [randomFusion(rng, scale, 1)];
      using device = new GpuPath(gpu, models);
      using native = new NativePath(models);
      device.setStages(stages);
      native.setStages(stages);
      for (const [w, h] of sizes) {
        const frame = roughFrame(rng, w, h);
        assertEquals(
          await device.cascade(frame, w, h),
          native.cascade(frame, w, h),
          `${w}x${h} x${scale}`,
        );
      }
    }
  },
);

gpuTest(
  "GpuPath.fuse gives the bytes of the Rust library at odd sizes, scales, expert counts and in both banks",
  async () => {
    if (!needsNative({ name: "GpuPath.fuse" } as Deno.TestContext)) return;
    const rng = new Rng(4);
    for (
      const [scale, experts, channels, pixels] of [
        [4, 6, 32, 2],
        [4, 6, 20, 4],
        [3, 5, 16, 4],
        [2, 1, 16, 2],
      ] as [LutScale, number, number, 2 | 4][]
    ) {
      const models = [0, 1].map(() => randomFusion(rng, scale, experts, channels));
      using device = new GpuPath(gpu, models, { pixels });
      using native = new NativePath(models);
      for (const [w, h] of sizes) {
        const frame = roughFrame(rng, w, h), previous = roughFrame(rng, w, h);
        const results = [];
        // There and back: a plan kept for one bank must not answer for the other.
        for (const bank of [0, 1, 0]) {
          const result = native.fuse(frame, previous, w, h, bank);
          assertEquals(
            await device.fuse(frame, previous, w, h, bank),
            result,
            `${w}x${h} x${scale}, bank ${bank}`,
          );
          results.push(result);
        }
        assertEquals(results[2], results[0]);
        if (w * h > 20) assertNotEquals(results[1], results[0]);
      }
    }
  },
);

gpuTest(
  "GpuPath.fuse gives the bytes of the Rust library for more workgroups than one dimension has",
  async () => {
    if (!needsNative({ name: "GpuPath.fuse" } as Deno.TestContext)) return;
    const rng = new Rng(6);
    const models = [randomFusion(rng, 2, 1)];
    using device = new GpuPath(gpu, models, { pixels: 1 });
    using native = new NativePath(models);
    const [w, h] = [2050, 1025];
    const frame = roughFrame(rng, w, h);
    const [given, expected] = [
      await device.fuse(frame, frame, w, h),
      native.fuse(frame, frame, w, h),
    ];
    assertEquals(given.findIndex((byte, i) => byte !== expected[i]), -1);
  },
);
