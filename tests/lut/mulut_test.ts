import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { LutCascade } from "../../ffi/lut_cascade.ts";
import { nativeProblem } from "../../ffi/load.ts";
import { ModelFormatError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import { encodeNpy } from "../../src/formats/npy.ts";
import { GpuPath } from "../../src/lut/gpu_path.ts";
import { loadMulut } from "../../src/lut/load_mulut.ts";
import { decibels, lumaOf, meanSquare, readRgb } from "../../scripts/bench/video/luma.ts";
import { dataDir } from "../support/data_dir.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";
import { noise, randomFusion } from "./lut_models.ts";

const data = dataDir("the MuLUT tables on Set5");
nativeProblem();
const gpu = data === undefined ? undefined : await openTestGpu();

Deno.test({
  name: "loadMulut's published tables reach their published 30.60 dB on Set5 at x4",
  ignore: data === undefined,
  fn: async (t) => {
    if (!needsNative(t)) return;
    using tables = LutCascade.open(loadMulut(join(data!, "lut/mulut_sdy_x2")));
    let sum = 0;
    for (const name of ["baby", "bird", "butterfly", "head", "woman"]) {
      const low = await readRgb(join(data!, `images/set5/LR_x4/${name}.png`));
      const high = lumaOf(await readRgb(join(data!, `images/set5/HR/${name}.png`)));
      const { width, height } = low;
      const out = new Uint8Array(width * height * 48);
      for (let c = 0; c < 3; c++) {
        const plane = Uint8Array.from({ length: width * height }, (_, i) => low.data[3 * i + c]);
        tables.run(plane, width, height).forEach((value, i) => out[3 * i + c] = value);
      }
      sum += decibels(
        meanSquare(lumaOf({ width: width * 4, height: height * 4, data: out }), high, 4),
      );
    }
    assertAlmostEquals(sum / 5, 30.6, 0.02);
  },
});

if (data !== undefined) {
  gpuTest("GpuPath gives the Rust library's bytes with the published MuLUT tables", async () => {
    const stages = loadMulut(join(data, "lut/mulut_sdy_x2"));
    using native = LutCascade.open(stages);
    using device = new GpuPath(gpu!, [randomFusion(new Rng(1), 4, 1)]);
    device.setStages(stages);
    const low = lumaOf(await readRgb(join(data, "images/set5/LR_x4/butterfly.png")));
    assertEquals(
      await device.cascade(low.data, low.width, low.height),
      native.run(low.data, low.width, low.height),
    );
  });
}

Deno.test("loadMulut reads what MuLUT exports and names the file that does not fit", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = (
      stage: number,
      pattern: string,
      outputs: number,
      values = noise(new Rng(stage), 5 ** 4 * outputs),
    ) =>
      Deno.writeFileSync(
        join(folder, `LUT_ft_x2_6bit_int8_s${stage}_${pattern}.npy`),
        encodeNpy({ type: "int8", shape: [values.length / outputs, outputs], data: values }),
      );
    for (const pattern of ["s", "d"]) {
      write(1, pattern, 1);
      write(2, pattern, 4);
    }
    const options = { scale: 2, shift: 6, patterns: ["s", "d"] as const };
    const [first, last] = loadMulut(folder, options);
    assertEquals([first.scale, first.divisor, first.bias], [1, 64 * 2 * 4, 127 * 512]);
    assertEquals([last.scale, last.divisor, last.tables.length], [2, 128, 2]);
    write(2, "d", 4, noise(new Rng(1), 8));
    assertThrows(
      () => loadMulut(folder, options),
      ModelFormatError,
      "s2_d.npy: array is int8 [2,4], expected int8 [625,4]",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("LutCascade refuses tables of a wrong size and frames that do not fit", (t) => {
  if (!needsNative(t)) return;
  const stage = {
    scale: 2,
    shift: 5,
    rotations: 4 as const,
    divisor: 64,
    bias: 0,
    centre: true,
    patterns: [[[0, 0], [0, 1], [1, 0], [1, 1]]] as const,
    tables: [new Int8Array(9 ** 4 * 4)],
  };
  assertThrows(() => LutCascade.open([{ ...stage, tables: [new Int8Array(100)] }]), RangeError);
  assertThrows(() => LutCascade.open([{ ...stage, shift: 2 }]), RangeError);
  assertThrows(
    () => LutCascade.open([stage, stage]),
    RangeError,
    "stage 1 of a cascade has step 1, expected 2",
  );
  assertThrows(
    () =>
      LutCascade.open([stage, { ...stage, step: 2, patterns: [[[0, 0], [7, 0], [1, 0], [1, 1]]] }]),
    RangeError,
    "a pattern offset is 7, expected at most 6",
  );
  using cascade = LutCascade.open([stage]);
  assertThrows(() => cascade.run(new Uint8Array(5), 2, 3), RangeError, "5 pixels, expected 6");
  assertThrows(
    () => cascade.run(new Uint8Array(6), 2, 3, { threads: 0 }),
    RangeError,
    "threads is 0",
  );
  assert(cascade.run(new Uint8Array(6).fill(9), 2, 3).every((value) => value === 9));
});
