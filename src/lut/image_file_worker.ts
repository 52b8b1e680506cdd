/** The worker behind `upscaleImageFile`: decoding, enlarging and encoding a picture take seconds, which a server has not. @module */

import { workerScope } from "../common/worker_scope.ts";
import { decodeImage, encodeImage, type ImageFormat, type RgbaImage } from "../formats/image.ts";
import type { LutScale } from "./model_file.ts";
import { upscaleImage } from "./upscale_image.ts";

/** What the owner sends: a file, and once its size is known what is to become of it. */
export type ImageFileRequest =
  | { type: "decode"; bytes: Uint8Array<ArrayBuffer>; name: string; maxPixels?: number }
  | { type: "enlarge"; scale: LutScale; format: ImageFormat };

/** What the worker answers, one for each request. */
export type ImageFileReply =
  | { type: "decoded"; width: number; height: number }
  | { type: "encoded"; bytes: Uint8Array<ArrayBuffer> }
  | { type: "failed"; name: string; message: string };

const scope = workerScope();
let picture: RgbaImage | undefined;

scope.onmessage = ({ data }: MessageEvent<ImageFileRequest>) => {
  try {
    const reply = answer(data);
    scope.postMessage(reply, reply.type === "encoded" ? [reply.bytes.buffer] : []);
  } catch (error) {
    const { name, message } = error as Error;
    scope.postMessage({ type: "failed", name, message } satisfies ImageFileReply);
  }
};

function answer(request: ImageFileRequest): ImageFileReply {
  if (request.type === "decode") {
    picture = decodeImage(request.bytes, request.name, request.maxPixels);
    return { type: "decoded", width: picture.width, height: picture.height };
  }
  const big = upscaleImage(picture!, request.scale);
  return { type: "encoded", bytes: encodeImage(big, request.format) };
}
