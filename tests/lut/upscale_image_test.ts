import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { enlargePlane } from "../../ffi/lut_enlarge.ts";
import {
  enlargeLuma,
  type ImageUpscaleOptions,
  upscaleImage,
} from "../../src/lut/upscale_image.ts";
import { VideoUpscaler, type VideoUpscalerOptions } from "../../src/lut/video_upscaler.ts";
import { needsNative } from "../support/needs_native.ts";

const width = 40, height = 28, scale = 4;

/** Sharp discs and bars in studio luma, drawn from their equations with 4 x 4 samples a pixel. */
function drawing(w: number, h: number): Float64Array {
  const samples = 4;
  return Float64Array.from({ length: w * h }, (_, i) => {
    let sum = 0;
    for (let s = 0; s < samples ** 2; s++) {
      const x = (i % w + (s % samples + 0.5) / samples) / w * width;
      const y = (Math.floor(i / w) + (Math.floor(s / samples) + 0.5) / samples) / h * height;
      const radius = (x - 13) ** 2 + (y - 12) ** 2;
      const bar = Math.abs(x - 26 - y / 3) < 2.2 || Math.abs(y - 21 + x / 5) < 1.3;
      sum += radius > 18 && radius < 70 ? 205 : bar ? 40 : 120;
    }
    return sum / samples ** 2;
  });
}

/** Mean square error against the drawing, borders left out. */
function errorOf(plane: Uint8Array, drawn: Float64Array): number {
  const [w, h] = [width * scale, height * scale];
  let sum = 0, count = 0;
  for (let y = 8; y < h - 8; y++) {
    for (let x = 8; x < w - 8; x++, count++) sum += (plane[y * w + x] - drawn[y * w + x]) ** 2;
  }
  return sum / count;
}

Deno.test("enlargeLuma's tables and net draw sharp edges closer to the truth than bicubic does", (t) => {
  if (!needsNative(t)) return;
  const low = Uint8Array.from(drawing(width, height), Math.round);
  const drawn = drawing(width * scale, height * scale);
  const bicubic = errorOf(enlargePlane(low, width, height, scale), drawn);
  const gain = (options: ImageUpscaleOptions) =>
    10 * Math.log10(bicubic / errorOf(enlargeLuma(low, width, height, scale, options), drawn));
  const gains = { twoStage: gain({ model: "two_stage" }), fusion: gain({}) };
  assert(gains.twoStage > 1.5 && gains.fusion > 1.5, JSON.stringify(gains));
});

Deno.test("enlargeLuma's two stages give the turned result for a turned picture", (t) => {
  if (!needsNative(t)) return;
  const low = Uint8Array.from(drawing(width, height), Math.round);
  const turned = low.map((_, i) => low[i % height * width + width - 1 - Math.floor(i / height)]);
  const expected = enlargeLuma(low, width, height, scale, { model: "two_stage" });
  const result = enlargeLuma(turned, height, width, scale, { model: "two_stage" });
  const [w, h] = [width * scale, height * scale];
  assertEquals(result, expected.map((_, i) => expected[i % h * w + w - 1 - Math.floor(i / h)]));
});

Deno.test("upscaleImage and VideoUpscaler refuse what does not fit by its numbers", async () => {
  const image = { width: 4, height: 3, channels: 3 as const, data: new Uint8Array(35) };
  assertThrows(() => upscaleImage(image, 2), RangeError, "has 35 bytes, expected 36");
  const odd = { ...image, channels: 5 as 3, data: new Uint8Array(60) };
  assertThrows(() => upscaleImage(odd, 2), RangeError, "5 channels, expected 3 or 4");
  const turned = { ...image, width: -4, height: -3, data: new Uint8Array(36) };
  assertThrows(() => upscaleImage(turned, 2), RangeError, "-4x-3 pixels, expected positive");
  const plane = new Uint8Array(12);
  const model = "net" as "fusion";
  assertThrows(() => enlargeLuma(plane, 4, 3, 2, { model }), RangeError, "model is net");
  assertThrows(() => enlargeLuma(plane, 4, 4, 2), RangeError, "4x4 has 12 bytes, expected 16");
  assertThrows(
    () => enlargeLuma(plane, 4, 3, 5 as 4),
    RangeError,
    "scale is 5, expected 2, 3 or 4",
  );
  const none = undefined as unknown as 4;
  assertThrows(
    () => enlargeLuma(plane, 4, 3, none),
    RangeError,
    "scale is undefined, expected 2, 3",
  );
  const wrong: [VideoUpscalerOptions, string][] = [
    [{ scale: 5 as 4 }, "scale is 5, expected 2, 3 or 4"],
    [{ quality: "best" as "full" }, "quality is best, expected full, gate, bicubic"],
    [{ budgetMs: 0 }, "budgetMs is 0, expected more than 0"],
    [{ queue: 0 }, "queue is 0, expected a positive integer"],
    [{ run: { threads: 0 } }, "threads is 0, expected an integer from 1 to 256"],
    [{ run: { threads: NaN } }, "threads is NaN"],
    [{ run: { isa: "mmx" as "avx2" } }, "isa is mmx, expected one of scalar, avx2"],
  ];
  for (const [options, words] of wrong) {
    await assertRejects(() => VideoUpscaler.open(options), RangeError, words);
  }
});

Deno.test("upscaleImage mixes no colour of what is fully transparent into the seam", (t) => {
  if (!needsNative(t)) return;
  const [width, height] = [40, 24];
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (x - y > 8) data.set([200, 60, 40, 255], 4 * (y * width + x));
    }
  }
  for (const scale of [2, 3, 4] as const) {
    const big = upscaleImage({ width, height, channels: 4, data }, scale);
    for (let at = 0; at < big.data.length; at += 4) {
      if (big.data[at + 3] < 16) continue;
      const off = Math.max(...[200, 60, 40].map((value, c) => Math.abs(big.data[at + c] - value)));
      assert(off <= 4, `x${scale}: ${big.data.subarray(at, at + 4)} at ${at / 4}`);
    }
  }
});
