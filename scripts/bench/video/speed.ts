/** Frames a second at 320x180 to 1280x720. @module */

import { LutCascade } from "../../../ffi/lut_cascade.ts";
import { enlargePlane } from "../../../ffi/lut_enlarge.ts";
import { LutFusion, type LutFusionModel } from "../../../ffi/lut_fusion.ts";
import { lutIsaAvailable, lutIsas } from "../../../ffi/lut_isa.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { BankChooser } from "../../../src/lut/bank_chooser.ts";
import { blendExperts } from "../../../src/lut/blend_experts.ts";
import { GpuPath } from "../../../src/lut/gpu_path.ts";
import { LutModelFile } from "../../../src/lut/model_file.ts";
import { NativePath } from "../../../src/lut/native_path.ts";
import type { BenchContext } from "../harness.ts";

const width = 320, height = 180;
const threads = 2;

/** Reports the `_720p` rows. Values are of the best instruction set; the ratio of an AVX2 row is its share of them. */
export async function speedRows(context: BenchContext): Promise<void> {
  using model = LutModelFile.open();
  const banks = model.fusion(4);
  const stage = blendExperts(model.single(4), [0.7, 0.3, 0, 0, 0, 0]);
  const frame = movingFrame(0), previous = movingFrame(1);
  const chroma = new Uint8Array((width / 2) * (height / 2)).fill(120);
  const sets = lutIsas.filter((isa) => isa !== "scalar" && lutIsaAvailable(isa)).reverse();
  const best: Record<string, number> = {};
  for (const [place, isa] of (sets.length > 0 ? sets : ["scalar" as const]).entries()) {
    using table = LutCascade.open([stage]);
    using net = LutFusion.open(banks[0]);
    const chooser = new BankChooser(model.bank());
    const luma = { isa, threads, out: new Uint8Array(frame.length * 16) };
    const colour = { threads, out: new Uint8Array(chroma.length * 16) };
    const cases = {
      gate: () => table.run(frame, width, height, luma),
      full: () => {
        chooser.choose(frame, width, height);
        net.run(frame, previous, width, height, luma);
        for (let i = 0; i < 2; i++) enlargePlane(chroma, width / 2, height / 2, 4, colour);
      },
    };
    for (const [name, run] of Object.entries(cases)) {
      const fps = 1000 / fastest(run);
      const suffix = place === 0 ? "" : `_${isa.replace("-", "_")}`;
      best[name] ??= fps;
      context.report({
        case: `native_720p_${name}${suffix}`,
        metric: "fps",
        value: fps,
        unit: "fps",
        ...(place === 0 ? {} : { baseline: sets[0], ratio: fps / best[name] }),
        device: `${isa}, ${threads} threads`,
      });
    }
  }
  if (await navigator.gpu?.requestAdapter()) await gpuRow(context, banks, frame, previous);
}

async function gpuRow(
  context: BenchContext,
  banks: readonly LutFusionModel[],
  frame: Uint8Array<ArrayBuffer>,
  previous: Uint8Array<ArrayBuffer>,
): Promise<void> {
  using gpu = await Gpu.open();
  using path = new GpuPath(gpu, banks);
  using native = new NativePath(banks);
  const expected = native.fuse(frame, previous, width, height);
  const result = await path.fuse(frame, previous, width, height);
  if (!result.every((value, i) => value === expected[i])) {
    throw new Error("the shaders' frame differs from the native library's");
  }
  let best = Infinity;
  const end = performance.now() + 1500;
  for (let i = 0; i < 5 || performance.now() < end; i++) {
    const start = performance.now();
    await path.fuse(frame, previous, width, height);
    best = Math.min(best, performance.now() - start);
  }
  const name = gpu.adapterClass === "software" ? "software_gpu_720p" : "gpu_720p";
  context.report({
    case: name,
    metric: "fps",
    value: 1000 / best,
    unit: "fps",
    device: gpu.description,
  });
}

/** Milliseconds of the fastest run within a second and a half: what the code needs when nothing else has the cores. */
function fastest(run: () => unknown): number {
  const end = performance.now() + 1500;
  let best = Infinity;
  while (performance.now() < end) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** Soft shapes with some grain: real frames visit few rows of the tables. */
function movingFrame(age: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const x = i % width + 2 * age, y = Math.floor(i / width) + age;
    return 126 + 60 * Math.sin(x / 31) * Math.cos(y / 17) + 30 * Number((x >> 4 ^ y >> 4) & 1) +
      (i * 7919 % 5);
  });
}
