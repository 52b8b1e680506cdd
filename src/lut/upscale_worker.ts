/** The worker behind `WorkerUpscaler`: native calls block the isolate that makes them, so a server makes them here. @module */

import { workerScope } from "../common/worker_scope.ts";
import type { VideoFrame } from "./video_frame.ts";
import { VideoUpscaler, type VideoUpscalerOptions } from "./video_upscaler.ts";

/** What the owner sends. */
export type UpscaleRequest =
  | { type: "open"; options: Omit<VideoUpscalerOptions, "path"> }
  | { type: "frame"; frame: VideoFrame }
  | { type: "close" };

/** What the worker answers, one for each request, in order; after `closed` nothing more. */
export type UpscaleReply =
  | { type: "opened"; description: string }
  | { type: "frame"; frame: VideoFrame; stats: VideoUpscaler["stats"] }
  | { type: "closed" }
  | { type: "failed"; name: string; message: string };

const scope = workerScope();
let upscaler: VideoUpscaler | undefined;
let last = Promise.resolve();
let closing = false;

scope.onmessage = ({ data }: MessageEvent<UpscaleRequest>) => {
  closing ||= data.type === "close";
  last = last.then(() => answer(data)).catch((error: Error) =>
    scope.postMessage(
      { type: "failed", name: error.name, message: error.message } satisfies UpscaleReply,
    )
  );
};

async function answer(request: UpscaleRequest): Promise<void> {
  if (request.type === "close") {
    upscaler?.[Symbol.dispose]();
    return scope.postMessage({ type: "closed" } satisfies UpscaleReply);
  }
  // Nobody waits for it any more.
  if (closing) return;
  if (request.type === "open") {
    upscaler = await VideoUpscaler.open(request.options);
    const { description } = upscaler;
    scope.postMessage({ type: "opened", description } satisfies UpscaleReply);
    return;
  }
  const frame = await upscaler!.upscaleFrame(request.frame);
  scope.postMessage(
    { type: "frame", frame, stats: upscaler!.stats } satisfies UpscaleReply,
    [frame.y.buffer, frame.u.buffer, frame.v.buffer],
  );
}
