import { WorkerUpscaler } from "../lut/worker_upscaler.ts";
import { frameBytes, frameOf } from "../lut/video_frame.ts";
import { maxFrameSide } from "./frame_limit.ts";
import type { VideoPlace } from "./video_places.ts";
import { readVideoQuery } from "./video_query.ts";

/** Frames that a client may have unanswered, or answered and not taken; one sent beyond is dropped, since late live video is worth nothing. */
const maxInFlight = 4;

/** Bytes of words that a client may leave untaken. */
const maxWords = 1 << 20;
/** Times that a client may start anew before the first is done. */
const maxStarts = 16;

/**
 * Live video on one WebSocket. The client's first message is JSON `{ width, height, scale?, quality?, budget_ms? }`; the server
 * answers `{ type: "ready", width, height, device }` (the enlarged size) or `{ type: "error", message }`. Then each binary message
 * is one 4:2:0 frame (Y, Cb, Cr), answered by one binary message of the enlarged frame, in order; a frame that finds four
 * unanswered or not taken from the socket is answered by `{ type: "dropped" }`. Another JSON message starts anew. A client that takes none of
 * its answers, or starts anew without waiting, is closed.
 */
export class VideoSession {
  readonly #socket: WebSocket;
  readonly #maxPixels: number;
  readonly #place: VideoPlace;
  #upscaler: WorkerUpscaler | undefined;
  #width = 0;
  #height = 0;
  #scale = 1;
  #starts = 0;
  #inFlight = 0;

  /** `place` is given back when the session ends. */
  constructor(socket: WebSocket, maxPixels: number, place: VideoPlace) {
    this.#socket = socket;
    this.#maxPixels = maxPixels;
    this.#place = place;
    socket.binaryType = "arraybuffer";
    let last = Promise.resolve();
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      place.touch();
      if (typeof data !== "string") return this.#frame(data);
      if (++this.#starts > maxStarts) return this.close();
      last = last.then(() => this.#configure(data)).catch((error: Error) => this.#fail(error))
        .finally(() => this.#starts--);
    };
    socket.onclose = () => this.close();
    socket.onerror = () => this.close();
  }

  /** Ends the session, with a code of RFC 6455 and up to 123 bytes of words for the client. Idempotent. */
  close(code = 1001, reason = ""): void {
    this.#upscaler?.[Symbol.dispose]();
    this.#upscaler = undefined;
    this.#place[Symbol.dispose]();
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(code, reason);
  }

  async #configure(text: string): Promise<void> {
    const given = parse(text);
    const { scale, quality, budgetMs } = readVideoQuery(
      Object.fromEntries(Object.entries(given).map(([key, value]) => [key, String(value)])),
    );
    const { width, height } = given;
    const side = (n: unknown): n is number =>
      Number.isInteger(n) && (n as number) >= 1 && (n as number) <= maxFrameSide;
    if (!side(width) || !side(height) || width * height > this.#maxPixels) {
      throw new RangeError(
        `the size is ${width}x${height}, expected whole numbers of at most ${maxFrameSide}, and ${this.#maxPixels} pixels together`,
      );
    }
    this.#upscaler?.[Symbol.dispose]();
    this.#upscaler = undefined;
    this.#inFlight = 0;
    const upscaler = await WorkerUpscaler.open({ scale, quality, budgetMs });
    if (this.#socket.readyState !== WebSocket.OPEN) return upscaler[Symbol.dispose]();
    [this.#width, this.#height, this.#scale] = [width, height, scale];
    this.#upscaler = upscaler;
    this.#tell({
      type: "ready",
      width: width * scale,
      height: height * scale,
      device: upscaler.description,
    });
  }

  #frame(data: ArrayBuffer): void {
    const upscaler = this.#upscaler;
    const expected = frameBytes("420", this.#width, this.#height);
    if (!upscaler || data.byteLength !== expected) {
      const problem = upscaler
        ? `a frame has ${data.byteLength} bytes, expected ${expected}`
        : "a frame came before its size";
      return this.#fail(new RangeError(problem));
    }
    // Answers that the client has not taken from the socket count too: they take memory, and what comes after them is late.
    const untaken = Math.ceil(this.#socket.bufferedAmount / (expected * this.#scale ** 2));
    if (this.#inFlight + untaken >= maxInFlight) return this.#tell({ type: "dropped" });
    this.#inFlight++;
    const frame = frameOf(new Uint8Array(data), "420", this.#width, this.#height);
    upscaler.upscaleFrame(frame).then(({ y, u, v }) => {
      if (this.#upscaler !== upscaler) return;
      this.#inFlight--;
      if (this.#socket.readyState !== WebSocket.OPEN) return;
      this.#socket.send(joined([y, u, v]));
    }).catch((error: Error) => {
      if (this.#upscaler === upscaler) this.#fail(error);
    });
  }

  #fail(error: Error): void {
    this.#tell({ type: "error", message: error.message });
  }

  #tell(message: Record<string, unknown>): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    // Frames are held back by then: what is left are words to a client that reads none of them.
    const most = maxInFlight * frameBytes("420", this.#width, this.#height) * this.#scale ** 2;
    if (this.#socket.bufferedAmount > most + maxWords) return this.close();
    this.#socket.send(JSON.stringify(message));
  }
}

function parse(text: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new SyntaxError("a text message is no JSON object, expected { width, height, … }");
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
