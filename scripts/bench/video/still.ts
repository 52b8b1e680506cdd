/** Set5 at x4: the published tables, and ours. @module */

import { join } from "@std/path";
import { LutCascade } from "../../../ffi/lut_cascade.ts";
import { blendExperts } from "../../../src/lut/blend_experts.ts";
import { loadMulut } from "../../../src/lut/load_mulut.ts";
import { LutModelFile } from "../../../src/lut/model_file.ts";
import { enlargeLuma } from "../../../src/lut/upscale_image.ts";
import type { BenchContext } from "../harness.ts";
import { decibels, type Luma, lumaOf, meanSquare, readRgb } from "./luma.ts";

type Upscale = (
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
) => Uint8Array<ArrayBuffer>;

/** Reports the `_set5_x4/psnr_db` rows. */
export async function stillRows(context: BenchContext, data: string): Promise<void> {
  const pairs = await set5(data);
  const report = (name: string, value: number) =>
    context.report({ case: `${name}_set5_x4`, metric: "psnr_db", value, unit: "dB" });
  using mulut = LutCascade.open(loadMulut(join(data, "lut/mulut_sdy_x2")));
  report("mulut", mean(pairs.map(({ low, high }) => rgbPsnr(mulut, low, high))));
  using model = LutModelFile.open();
  const singles = model.single(4);
  using single = LutCascade.open([blendExperts(singles, [1, 0, 0, 0, 0, 0])]);
  using pair = LutCascade.open(model.twoStage(4)!);
  const luma = (upscale: Upscale) =>
    mean(pairs.map(({ low, high }) => lumaPsnr(upscale, lumaOf(low), lumaOf(high))));
  report("expert_s", luma((p, w, h) => single.run(p, w, h)));
  report("experts", luma((p, w, h) => pair.run(p, w, h)));
  report("fusion", luma((p, w, h) => enlargeLuma(p, w, h, 4)));
}

async function set5(data: string): Promise<{ low: Luma; high: Luma }[]> {
  const names = ["baby", "bird", "butterfly", "head", "woman"];
  return await Promise.all(names.map(async (name) => ({
    low: await readRgb(join(data, `images/set5/LR_x4/${name}.png`)),
    high: await readRgb(join(data, `images/set5/HR/${name}.png`)),
  })));
}

/** Every channel enlarged alone, luma of the result against luma of the original: how MuLUT's authors measure. */
function rgbPsnr(tables: LutCascade, low: Luma, high: Luma): number {
  const { width, height } = low;
  const out = new Uint8Array(width * height * 48);
  for (let c = 0; c < 3; c++) {
    const plane = Uint8Array.from({ length: width * height }, (_, i) => low.data[3 * i + c]);
    tables.run(plane, width, height).forEach((value, i) => out[3 * i + c] = value);
  }
  const result = lumaOf({ width: width * 4, height: height * 4, data: out });
  return decibels(meanSquare(result, lumaOf(high), 4));
}

function lumaPsnr(upscale: Upscale, low: Luma, high: Luma): number {
  const data = upscale(low.data, low.width, low.height);
  const result = { width: low.width * 4, height: low.height * 4, data };
  return decibels(meanSquare(result, high, 4));
}

function mean(values: number[]): number {
  return values.reduce((a, b) => a + b) / values.length;
}
