import { enlargePlane } from "../../ffi/lut_enlarge.ts";
import { decodeImage, encodeImage, type ImageFormat } from "../formats/image.ts";
import type { LutScale } from "./model_file.ts";
import { imageOf, planesOf } from "./planes.ts";
import { WorkerUpscaler } from "./worker_upscaler.ts";

/** How an image file is enlarged. */
export interface ImageFileOptions {
  /** What stands for the file in errors. */
  name: string;
  /** Pixels that the input may have; default: what `decodeImage` admits. */
  maxPixels?: number;
  /** Aborted when nobody wants the result any more. */
  signal?: AbortSignal;
}

/**
 * Enlarges a PNG or JPEG file in a Worker, so that the caller's isolate stays free; `choose` gives the scale and the format of
 * the result once the input's size is known.
 * @throws {ModelFormatError} for another format, damage or too many pixels.
 */
export async function upscaleImageFile(
  bytes: Uint8Array<ArrayBuffer>,
  choose: (width: number, height: number) => { scale: LutScale; format: ImageFormat },
  { name, maxPixels, signal }: ImageFileOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const picture = decodeImage(bytes, name, maxPixels);
  const { scale, format } = choose(picture.width, picture.height);
  const { frame, alpha } = planesOf(picture);
  using upscaler = await WorkerUpscaler.open({ scale, still: true });
  signal?.throwIfAborted();
  const big = await upscaler.upscaleFrame(frame);
  const bigAlpha = alpha && enlargePlane(alpha, frame.width, frame.height, scale);
  return encodeImage(imageOf(big, bigAlpha), format);
}
