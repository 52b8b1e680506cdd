/**
 * PNG and JPEG files to and from interleaved bytes.
 * @module
 */

// deno-lint-ignore no-external-import -- built into Deno; the web's own are asynchronous
import { deflateSync, inflateSync } from "node:zlib";
import { decode as decodePng, encode as encodePng } from "fast-png";
import jpeg from "jpeg-js";
import { ModelFormatError } from "../common/errors.ts";
import { checkImage } from "./check_image.ts";
import { checkPngData } from "./check_png_data.ts";
import { plainPng, type PngChunks, readPngChunks } from "./png_chunks.ts";
import { pngPasses } from "./png_passes.ts";
import { jpegIsRgb, jpegOrientation } from "./jpeg_blocks.ts";
import { tiffOrientation } from "./tiff_orientation.ts";
import { upright } from "./upright.ts";

/** An image of 8 bits a sample, interleaved, row-major. */
export interface RgbaImage {
  /** In pixels. */
  width: number;
  /** In pixels. */
  height: number;
  /** 3 (RGB) or 4 (RGB and alpha). */
  channels: 3 | 4;
  /** `width * height * channels` bytes. */
  data: Uint8Array<ArrayBuffer>;
}

/** File formats. */
export type ImageFormat = "png" | "jpeg";

/** Pixels that a file may have unless the caller says otherwise: 100 megapixels, 400 MB as RGBA. */
const mostPixels = 100_000_000;

/** A JPEG's header has 16 bits for each side. */
const longestJpegSide = 65535;

/** The format of a file's first bytes, or undefined. */
export function sniffImage(bytes: Uint8Array): ImageFormat | undefined {
  if (bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47) {
    return "png";
  }
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return "jpeg";
  return undefined;
}

/**
 * Decodes a PNG (any depth, palette or grey, brought to 8-bit RGB or RGBA) or a JPEG, turned upright as Exif says. Colour profiles are not
 * applied. `name` stands for the file in errors.
 * @throws {ModelFormatError} for another format, damage (of a PNG's pixels also a wrong Adler checksum), or
 * more than `maxPixels` (default 100 megapixels).
 */
export function decodeImage(
  bytes: Uint8Array<ArrayBuffer>,
  name = "image",
  maxPixels = mostPixels,
): RgbaImage {
  const format = sniffImage(bytes);
  if (format === undefined) {
    throw new ModelFormatError(`${name}: the file is neither PNG nor JPEG`);
  }
  try {
    return format === "png" ? fromPng(bytes, name, maxPixels) : fromJpeg(bytes, name, maxPixels);
  } catch (error) {
    if (error instanceof ModelFormatError) throw error;
    throw new ModelFormatError(
      `${name}: the ${format} data is damaged (${(error as Error).message})`,
      { cause: error },
    );
  }
}

/**
 * Encodes as PNG, or as JPEG of the given quality (1 to 100, default 92), which has no alpha: what is transparent is laid on white.
 * @throws {RangeError} for another format, a quality out of range, sides that are no positive integers (or past 65,535 of a JPEG), or data of another
 * length.
 */
export function encodeImage(
  image: RgbaImage,
  format: ImageFormat,
  quality = 92,
): Uint8Array<ArrayBuffer> {
  if (format !== "png" && format !== "jpeg") {
    throw new RangeError(`format is ${format}, expected png or jpeg`);
  }
  if (!(quality >= 1 && quality <= 100)) {
    throw new RangeError(`quality is ${quality}, expected a number from 1 to 100`);
  }
  checkImage(image);
  if (format === "png") return new Uint8Array(encodePng({ ...image, depth: 8 }));
  const { width, height, channels, data } = image;
  if (Math.max(width, height) > longestJpegSide) {
    throw new RangeError(
      `encode a JPEG: the image is ${width}x${height}, expected at most ${longestJpegSide} a side; a PNG may be larger`,
    );
  }
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    const alpha = channels === 4 ? data[4 * i + 3] / 255 : 1;
    for (let c = 0; c < 3; c++) {
      rgba[4 * i + c] = Math.round(255 + (data[channels * i + c] - 255) * alpha);
    }
  }
  return new Uint8Array(jpeg.encode({ width, height, data: rgba }, quality).data);
}

function fromPng(bytes: Uint8Array<ArrayBuffer>, name: string, maxPixels: number): RgbaImage {
  const chunks = readPngChunks(bytes, name);
  const view = new DataView(chunks.header.buffer, chunks.header.byteOffset);
  const pixels = view.getUint32(0) * view.getUint32(4);
  if (pixels > maxPixels) {
    throw new ModelFormatError(
      `${name}: the image has ${pixels} pixels, expected at most ${maxPixels}`,
    );
  }
  checkPngData(chunks, name);
  const [depth, , , , interlaced] = chunks.header.subarray(8);
  const image = interlaced !== 0 && depth < 8
    ? joinedPasses(chunks, name)
    : decodedPng(chunks, name);
  const { exif } = chunks;
  return exif
    ? upright(image, tiffOrientation(new DataView(exif.buffer, exif.byteOffset, exif.byteLength)))
    : image;
}

/** An interlaced image of less than 8 bits a sample, which the decoder takes for bytes: its passes, each an image of its own. */
function joinedPasses(chunks: PngChunks, name: string): RgbaImage {
  const { header, data } = chunks;
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  // Greys or a palette: there are no others of so few bits.
  const passes = pngPasses(header, 1);
  const rows = inflateSync(data);
  let at = 0;
  let joined: RgbaImage | undefined;
  for (const { x, y, across, down, bytes, ...size } of passes) {
    const own = header.slice();
    const ownView = new DataView(own.buffer);
    ownView.setUint32(0, size.width);
    ownView.setUint32(4, size.height);
    own[12] = 0;
    const packed = new Uint8Array(deflateSync(rows.subarray(at, at += bytes), { level: 0 }));
    const pass = decodedPng({ ...chunks, header: own, data: packed }, name);
    const { channels } = pass;
    joined ??= { width, height, channels, data: new Uint8Array(width * height * channels) };
    for (let row = 0; row < size.height; row++) {
      for (let column = 0; column < size.width; column++) {
        const from = (row * size.width + column) * channels;
        const to = ((y + row * down) * width + x + column * across) * channels;
        for (let c = 0; c < channels; c++) joined.data[to + c] = pass.data[from + c];
      }
    }
  }
  return joined!;
}

function decodedPng(chunks: PngChunks, name: string): RgbaImage {
  const indexed = chunks.header[9] === 3;
  const { width, height, depth, channels, data, palette } = decodePng(plainPng({
    ...chunks,
    // Elsewhere PLTE is a suggestion, and the decoder refuses a tRNS of more values than pixels.
    palette: indexed ? chunks.palette : undefined,
    transparency: indexed ? chunks.transparency : undefined,
  }));
  if (indexed && !palette) throw new ModelFormatError(`${name}: the PNG has no PLTE, its colours`);
  const key = keyOf(chunks, channels);
  const alpha = palette
    ? palette.some((entry) => entry.length === 4)
    : channels === 2 || channels === 4 || key !== undefined;
  const out = new Uint8Array(width * height * (alpha ? 4 : 3));
  const top = 2 ** depth - 1;
  const perRow = Math.ceil(width * channels * depth / 8);
  // Samples of less than a byte come packed, rows padded to whole bytes.
  const sample = depth >= 8
    ? (y: number, i: number) => data[y * width * channels + i]
    : (y: number, i: number) => {
      const bit = i * depth;
      return data[y * perRow + (bit >> 3)] >> (8 - depth - (bit & 7)) & top;
    };
  const to8 = (value: number) => depth === 8 ? value : Math.round(value * 255 / top);
  const step = alpha ? 4 : 3;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * step;
      if (palette) {
        const entry = palette[sample(y, x)];
        if (!entry) throw new ModelFormatError(`${name}: a pixel names a colour past the palette`);
        for (let c = 0; c < step; c++) out[at + c] = entry[c] ?? 255;
      } else {
        for (let c = 0; c < 3; c++) {
          out[at + c] = to8(sample(y, x * channels + (channels < 3 ? 0 : c)));
        }
        if (key) {
          out[at + 3] = key.every((value, c) => sample(y, x * channels + c) === value) ? 0 : 255;
        } else if (alpha) out[at + 3] = to8(sample(y, x * channels + channels - 1));
      }
    }
  }
  return { width, height, channels: alpha ? 4 : 3, data: out };
}

/** The one colour of a grey or RGB PNG that stands for nothing (the PNG specification's tRNS). */
function keyOf({ header, transparency }: PngChunks, channels: number): number[] | undefined {
  if (header[9] !== 0 && header[9] !== 2 || transparency?.length !== 2 * channels) return undefined;
  return Array.from(
    { length: channels },
    (_, c) => transparency[2 * c] * 256 + transparency[2 * c + 1],
  );
}

function fromJpeg(bytes: Uint8Array<ArrayBuffer>, name: string, maxPixels: number): RgbaImage {
  const { width, height, data } = decodeJpeg(bytes, name, maxPixels);
  return upright(
    { width, height, channels: 3, data: new Uint8Array(data) },
    jpegOrientation(bytes),
  );
}

function decodeJpeg(bytes: Uint8Array<ArrayBuffer>, name: string, maxPixels: number) {
  try {
    return jpeg.decode(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      ...(jpegIsRgb(bytes) ? { colorTransform: false } : {}),
      maxResolutionInMP: maxPixels / 1e6,
      maxMemoryUsageInMB: 2048,
    });
  } catch (error) {
    if (!/^maxResolutionInMP/.test((error as Error).message)) throw error;
    throw new ModelFormatError(`${name}: the image has more than ${maxPixels} pixels`, {
      cause: error,
    });
  }
}
