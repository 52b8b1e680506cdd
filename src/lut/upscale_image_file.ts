import { FewAtATime, type Turn } from "../common/few_at_a_time.ts";
import type { ImageFormat } from "../formats/image.ts";
import type { ImageFileReply, ImageFileRequest } from "./image_file_worker.ts";
import type { LutScale } from "./model_file.ts";
import { reviveError } from "./revive_error.ts";

/** How an image file is enlarged. */
export interface ImageFileOptions extends Turn {
  /** What stands for the file in errors. */
  name: string;
  /** Pixels that the input may have; default: what `decodeImage` admits. */
  maxPixels?: number;
}

/** A picture of two megapixels takes 0.5 GB and some seconds of a core on its way. */
const pictures = new FewAtATime(2, 32);

/**
 * Enlarges a PNG or JPEG file in a Worker, so that the caller's isolate stays free; `choose` gives the scale and the format of
 * the result once the input's size is known. Two files at a time, others wait.
 * @throws {ModelFormatError} for another format, damage or too many pixels.
 * @throws {CapacityError} when many wait already.
 */
export async function upscaleImageFile(
  bytes: Uint8Array<ArrayBuffer>,
  choose: (width: number, height: number) => { scale: LutScale; format: ImageFormat },
  { name, maxPixels, ...turn }: ImageFileOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const { signal } = turn;
  return await pictures.run("pictures", async () => {
    const worker = new Worker(new URL("./image_file_worker.ts", import.meta.url), {
      type: "module",
      name: "image upscaler",
    });
    try {
      const decoded = await ask(worker, { type: "decode", bytes, name, maxPixels }, signal);
      if (decoded.type !== "decoded") throw new Error(`the image worker answered ${decoded.type}`);
      const wanted = choose(decoded.width, decoded.height);
      const encoded = await ask(worker, { type: "enlarge", ...wanted }, signal);
      if (encoded.type !== "encoded") throw new Error(`the image worker answered ${encoded.type}`);
      return encoded.bytes;
    } finally {
      worker.terminate();
    }
  }, turn);
}

/** The worker's answer; rejects with its error, or when `signal` fires. */
async function ask(
  worker: Worker,
  request: ImageFileRequest,
  signal?: AbortSignal,
): Promise<ImageFileReply> {
  const { promise, resolve, reject } = Promise.withResolvers<ImageFileReply>();
  worker.onmessage = ({ data }: MessageEvent<ImageFileReply>) =>
    data.type === "failed" ? reject(reviveError(data.name, data.message)) : resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(`the image worker stopped: ${event.message}`));
  };
  const leave = () => reject(signal!.reason);
  signal?.addEventListener("abort", leave, { once: true });
  worker.postMessage(request);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener("abort", leave);
  }
}
