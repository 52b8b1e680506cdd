import type { RgbaImage } from "./image.ts";

/** Throws `RangeError` for sides that are no positive integers, channels other than 3 and 4, or data of another length than these say. */
export function checkImage({ width, height, channels, data }: RgbaImage): void {
  for (const side of [width, height]) {
    if (!Number.isSafeInteger(side) || side < 1) {
      throw new RangeError(`an image of ${width}x${height} pixels, expected positive integers`);
    }
  }
  if (channels !== 3 && channels !== 4) {
    throw new RangeError(`an image of ${channels} channels, expected 3 or 4`);
  }
  const expected = width * height * channels;
  if (data.length !== expected) {
    throw new RangeError(
      `an image of ${width}x${height} pixels of ${channels} bytes has ${data.length} bytes, expected ${expected}`,
    );
  }
}
