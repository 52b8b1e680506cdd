import { enlargePlane } from "../../ffi/lut_enlarge.ts";
import { LutCascade } from "../../ffi/lut_cascade.ts";
import { LutFusion } from "../../ffi/lut_fusion.ts";
import type { RgbaImage } from "../formats/image.ts";
import { LutModelFile, type LutScale } from "./model_file.ts";

/** Studio luma and chroma of BT.601, the space that the tables were trained in. */
const luma = [65.481 / 255, 128.553 / 255, 24.966 / 255] as const;

/** Which of the embedded models enlarges an image. */
export type ImageModel = "fusion" | "two_stage";

/**
 * Enlarges one still image by an integer: luma by the fusion net (or the two-stage tables), colour differences and alpha by
 * bicubic. A pure function of planes, and so a starting estimate for slower methods.
 *
 * @throws {RangeError} when the scale has no such model.
 */
export function upscaleImage(
  image: RgbaImage,
  scale: LutScale,
  model: ImageModel = "fusion",
  modelPath?: string,
): RgbaImage {
  const { width, height, channels, data } = image;
  const count = width * height;
  const y = new Uint8Array(count);
  // Colour differences B - Y and R - Y in studio steps, around 128.
  const cb = new Uint8Array(count), cr = new Uint8Array(count);
  const alpha = new Uint8Array(channels === 4 ? count : 0);
  for (let i = 0; i < count; i++) {
    const r = data[i * channels], g = data[i * channels + 1], b = data[i * channels + 2];
    y[i] = Math.round(16 + luma[0] * r + luma[1] * g + luma[2] * b);
    cb[i] = Math.round(128 + (-37.797 * r - 74.203 * g + 112 * b) / 255);
    cr[i] = Math.round(128 + (112 * r - 93.786 * g - 18.214 * b) / 255);
    if (channels === 4) alpha[i] = data[i * channels + 3];
  }
  const bigY = enlargeLuma(y, width, height, scale, model, modelPath);
  const big = (plane: Uint8Array<ArrayBuffer>) =>
    plane.length === 0 ? plane : enlargePlane(plane, width, height, scale);
  const bigCb = big(cb), bigCr = big(cr), bigAlpha = big(alpha);
  const out = new Uint8ClampedArray(count * scale * scale * channels);
  for (let i = 0; i < bigY.length; i++) {
    const l = 1.164383562 * (bigY[i] - 16), u = bigCb[i] - 128, v = bigCr[i] - 128;
    out[i * channels] = l + 1.596026786 * v;
    out[i * channels + 1] = l - 0.391762290 * u - 0.812967647 * v;
    out[i * channels + 2] = l + 2.017232143 * u;
    if (channels === 4) out[i * channels + 3] = bigAlpha[i];
  }
  return {
    width: width * scale,
    height: height * scale,
    channels,
    data: new Uint8Array(out.buffer),
  };
}

/**
 * Enlarges one plane of studio luma.
 * @throws {RangeError} when the scale has no such model.
 */
export function enlargeLuma(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  scale: LutScale,
  model: ImageModel = "fusion",
  modelPath?: string,
): Uint8Array<ArrayBuffer> {
  using file = LutModelFile.open(modelPath);
  if (model === "fusion") {
    using fusion = LutFusion.open(file.fusion(scale));
    return fusion.run(plane, plane, width, height);
  }
  const stages = file.twoStage(scale);
  if (!stages) throw new RangeError(`no two-stage tables for x${scale}, expected x4`);
  using cascade = LutCascade.open(stages);
  return cascade.run(plane, width, height);
}
