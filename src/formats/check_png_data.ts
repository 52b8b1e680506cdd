// deno-lint-ignore no-external-import -- built into Deno; the web's own inflates without a limit
import { inflateSync } from "node:zlib";
import { ModelFormatError } from "../common/errors.ts";
import { pngPasses } from "./png_passes.ts";
import type { PngChunks } from "./png_chunks.ts";

/** Samples of a pixel, by colour type. */
const samplesOf: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Bits of a sample. */
const depths = [1, 2, 4, 8, 16];
/** Bytes that may follow those of the pixels: some writers pad. */
const PADDING = 1 << 16;

/**
 * Checks that the pixel data of a PNG inflates to what its header promises, before anyone makes room for more: a megabyte can hold a gigabyte.
 * @throws {ModelFormatError} for an image of no pixels, samples that there are not, or data of another length.
 * @throws {Error} for data that does not inflate: other libraries take some of it, and have no limit.
 */
export function checkPngData({ header, data }: PngChunks, name: string): void {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  if (width === 0 || height === 0) {
    throw new ModelFormatError(`${name}: the image is ${width}x${height}, expected pixels`);
  }
  const [depth, colour] = header.subarray(8);
  const samples = samplesOf[colour];
  if (samples === undefined || !depths.includes(depth)) {
    throw new ModelFormatError(
      `${name}: the colour type is ${colour} of ${depth} bits, expected 0, 2, 3, 4 or 6 of ${
        depths.join(", ")
      }`,
    );
  }
  const expected = pngPasses(header, samples).reduce((sum, { bytes }) => sum + bytes, 0);
  const found = inflatedLength(data, expected + PADDING);
  if (found >= expected && found <= expected + PADDING) return;
  throw new ModelFormatError(
    `${name}: the data of ${width}x${height} pixels has ${
      found > expected ? `more than ${expected + PADDING}` : found
    } bytes, expected ${expected}`,
  );
}

/** Bytes that the data inflates to, one more than `most` for any more. */
function inflatedLength(data: Uint8Array, most: number): number {
  try {
    return inflateSync(data, { maxOutputLength: most }).length;
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") return most + 1;
    throw error;
  }
}
