import type { RgbaImage } from "./image.ts";
import type { Orientation } from "./tiff_orientation.ts";

/** For each orientation: whether rows become columns, and whether the result's columns and rows then run backwards through the file's. */
const turns: Readonly<Record<Orientation, readonly [boolean, boolean, boolean]>> = {
  1: [false, false, false],
  2: [false, true, false],
  3: [false, true, true],
  4: [false, false, true],
  5: [true, false, false],
  6: [true, true, false],
  7: [true, true, true],
  8: [true, false, true],
};

/** The image as the camera's holder saw it. */
export function upright(image: RgbaImage, orientation: Orientation): RgbaImage {
  if (orientation === 1) return image;
  const [turned, backX, backY] = turns[orientation];
  const { width, height, channels, data } = image;
  const [outWidth, outHeight] = turned ? [height, width] : [width, height];
  const out = new Uint8Array(data.length);
  for (let y = 0, at = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++) {
      const a = backX ? outWidth - 1 - x : x;
      const b = backY ? outHeight - 1 - y : y;
      const from = channels * (turned ? a * width + b : b * width + a);
      for (let c = 0; c < channels; c++) out[at++] = data[from + c];
    }
  }
  return { width: outWidth, height: outHeight, channels, data: out };
}
