import { enlargePlane } from "../../ffi/lut_enlarge.ts";
import { LutCascade } from "../../ffi/lut_cascade.ts";
import { LutFusion } from "../../ffi/lut_fusion.ts";
import type { RgbaImage } from "../formats/image.ts";
import { BankChooser } from "./bank_chooser.ts";
import { bleedColours } from "./bleed_colours.ts";
import { checkUpscale } from "./check_upscale.ts";
import { LutModelFile, type LutScale } from "./model_file.ts";
import { imageOf, planesOf } from "./planes.ts";
import type { VideoFrame } from "./video_frame.ts";

/** How a still image is enlarged. */
export interface ImageUpscaleOptions {
  /** Tables under a small net (default), or two stages of tables alone (x4). */
  model?: "fusion" | "two_stage";
  /** Model file; default: the embedded one. */
  path?: string;
}

/**
 * Enlarges one still image by an integer: luma by the fusion net (or the two-stage tables), colour differences and alpha by
 * bicubic; what is fully transparent takes its colour from what is visible beside it. A pure function of planes, and so a starting estimate for slower methods.
 *
 * @throws {RangeError} for data of another length than the size says, or a scale or model that there is not.
 */
export function upscaleImage(
  image: RgbaImage,
  scale: LutScale,
  options: ImageUpscaleOptions = {},
): RgbaImage {
  const { frame: { width, height, y, u, v }, alpha } = planesOf(bleedColours(image));
  const big = (plane: Uint8Array<ArrayBuffer>) => enlargePlane(plane, width, height, scale);
  const frame: VideoFrame = {
    width: width * scale,
    height: height * scale,
    layout: "444",
    y: enlargeLuma(y, width, height, scale, options),
    u: big(u),
    v: big(v),
  };
  return imageOf(frame, alpha && big(alpha));
}

/**
 * Enlarges one plane of studio luma.
 * @throws {RangeError} for a plane of another length than the size says, or a scale or model that there is not.
 */
export function enlargeLuma(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  scale: LutScale,
  options: ImageUpscaleOptions = {},
): Uint8Array<ArrayBuffer> {
  // `checkUpscale` takes none for the default, which this function has not.
  if (scale === undefined) throw new RangeError("scale is undefined, expected 2, 3 or 4");
  checkUpscale({ scale });
  if (plane.length !== width * height) {
    throw new RangeError(
      `a plane of ${width}x${height} has ${plane.length} bytes, expected ${width * height}`,
    );
  }
  const { model = "fusion" } = options;
  if (model !== "fusion" && model !== "two_stage") {
    throw new RangeError(`model is ${model}, expected fusion or two_stage`);
  }
  using file = LutModelFile.open(options.path);
  if (model === "fusion") {
    const bank = new BankChooser(file.bank(), { still: true }).choose(plane, width, height);
    using fusion = LutFusion.open(file.fusion(scale)[bank]);
    return fusion.run(plane, plane, width, height);
  }
  const stages = file.twoStage(scale);
  if (!stages) throw new RangeError(`no two-stage tables for x${scale}, expected x4`);
  using cascade = LutCascade.open(stages);
  return cascade.run(plane, width, height);
}
