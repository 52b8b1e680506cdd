// deno-lint-ignore no-external-import -- built into Deno; the web's own inflates without a limit
import { inflateSync } from "node:zlib";
import { ModelFormatError } from "../common/errors.ts";

/** Samples of a pixel, by colour type. */
const samplesOf: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** First column and row, and steps, of the passes of an interlaced image (PNG specification, section 8.2). */
const passes = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** Bytes that may follow those of the pixels: some writers pad. */
const PADDING = 1 << 16;

/**
 * Checks that the pixel data of a PNG inflates to what its header promises, before anyone makes room for more: a megabyte can hold a gigabyte.
 * @throws {ModelFormatError} for an image of no pixels, or data of another length. Other damage is left to the decoder.
 */
export function checkPngData(bytes: Uint8Array<ArrayBuffer>, name: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (width === 0 || height === 0) {
    throw new ModelFormatError(`${name}: the image is ${width}x${height}, expected pixels`);
  }
  const samples = samplesOf[bytes[25]];
  if (samples === undefined) return;
  const rows = (columns: number, count: number) =>
    columns === 0 ? 0 : count * (1 + Math.ceil(columns * samples * bytes[24] / 8));
  const expected = bytes[28] === 0 ? rows(width, height) : passes.reduce(
    (sum, [x, y, across, down]) =>
      sum +
      rows(
        Math.max(0, Math.ceil((width - x) / across)),
        Math.max(0, Math.ceil((height - y) / down)),
      ),
    0,
  );
  const found = inflatedLength(dataOf(bytes, view), expected + PADDING);
  if (found === undefined || found >= expected && found <= expected + PADDING) return;
  throw new ModelFormatError(
    `${name}: the data of ${width}x${height} pixels has ${
      found > expected ? `more than ${expected + PADDING}` : found
    } bytes, expected ${expected}`,
  );
}

/** Bytes that the data inflates to, one more than `most` for any more; undefined for data that is damaged. */
function inflatedLength(data: Uint8Array, most: number): number | undefined {
  try {
    return inflateSync(data, { maxOutputLength: most }).length;
  } catch (error) {
    return (error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE" ? most + 1 : undefined;
  }
}

/** The image data of all its chunks. */
function dataOf(bytes: Uint8Array<ArrayBuffer>, view: DataView): Uint8Array {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at);
    // "IDAT"
    if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
