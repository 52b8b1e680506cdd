import { prefetch } from "./prefetch.ts";
import { reviveError } from "./revive_error.ts";
import type { UpscaleReply, UpscaleRequest } from "./upscale_worker.ts";
import type { VideoFrame } from "./video_frame.ts";
import type { VideoUpscaler, VideoUpscalerOptions } from "./video_upscaler.ts";

/** Requests without their answer, oldest first. */
type Waiting = { resolve: (reply: UpscaleReply) => void; reject: (error: Error) => void }[];

/** A `VideoUpscaler` in a worker of its own: the caller's isolate stays free while frames are made. */
export class WorkerUpscaler implements Disposable {
  /** Instruction set that computes luma. */
  readonly description: string;
  readonly #worker: Worker;
  readonly #waiting: Waiting;
  readonly #queue: number;
  #stats: VideoUpscaler["stats"] | undefined;
  #closed = false;

  private constructor(worker: Worker, waiting: Waiting, description: string, queue: number) {
    this.#worker = worker;
    this.#waiting = waiting;
    this.description = description;
    this.#queue = queue;
  }

  /** As `VideoUpscaler.open`. */
  static async open(options: Omit<VideoUpscalerOptions, "path"> = {}): Promise<WorkerUpscaler> {
    const worker = new Worker(new URL("./upscale_worker.ts", import.meta.url), {
      type: "module",
      name: "video upscaler",
    });
    const waiting: Waiting = [];
    worker.onmessage = ({ data }: MessageEvent<UpscaleReply>) => {
      if (data.type === "closed") return worker.terminate();
      const next = waiting.shift();
      // A frame that was under way when the upscaler was disposed of.
      if (next === undefined) return;
      const { resolve, reject } = next;
      if (data.type !== "failed") resolve(data);
      else reject(reviveError(data.name, data.message));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(`the video worker stopped: ${event.message}`);
      for (const { reject } of waiting.splice(0)) reject(error);
    };
    try {
      const reply = await ask(worker, waiting, { type: "open", options });
      const description = reply.type === "opened" ? reply.description : "";
      return new WorkerUpscaler(worker, waiting, description, options.queue ?? 4);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /** What was done up to the last frame returned. */
  get stats(): VideoUpscaler["stats"] | undefined {
    return this.#stats;
  }

  /** One frame, as `VideoUpscaler.upscaleFrame`. Frames may be sent ahead; answers come in order. */
  async upscaleFrame(frame: VideoFrame): Promise<VideoFrame> {
    if (this.#closed) throw disposedOf();
    const reply = await ask(this.#worker, this.#waiting, { type: "frame", frame });
    if (reply.type !== "frame") throw new Error(`the video worker answered ${reply.type}`);
    this.#stats = reply.stats;
    return reply.frame;
  }

  /** As `VideoUpscaler.upscale`. */
  async *upscale(
    source: AsyncIterable<VideoFrame>,
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncGenerator<VideoFrame> {
    for await (const frame of prefetch(source, this.#queue, signal)) {
      yield await this.upscaleFrame(frame);
    }
  }

  /**
   * Ends the worker, once it has released what is in the native library (4 MB), which outlives a worker that is terminated; frames under way are
   * refused at once. Idempotent.
   */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#worker.postMessage({ type: "close" } satisfies UpscaleRequest);
    for (const { reject } of this.#waiting.splice(0)) reject(disposedOf());
  }
}

function disposedOf(): Error {
  return new Error("the video upscaler was disposed of");
}

function ask(
  worker: Worker,
  waiting: Waiting,
  request: UpscaleRequest,
): Promise<UpscaleReply> {
  const { promise, resolve, reject } = Promise.withResolvers<UpscaleReply>();
  waiting.push({ resolve, reject });
  worker.postMessage(request);
  return promise;
}
