/**
 * Sends frames through the browser's own VP8 encoder and decoder, so that they are damaged as a call's would be.
 */
export class DamageCodec {
  #encoder;
  #decoder;
  #kbps;
  #size = "";
  #count = 0;
  #onFrame;

  /** @param onFrame takes each decoded VideoFrame, and closes it. */
  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  /** Whether this browser can damage video. */
  static get supported() {
    return "VideoEncoder" in globalThis && "VideoDecoder" in globalThis;
  }

  /** Frames handed in and not yet out. */
  get pending() {
    return (this.#encoder?.encodeQueueSize ?? 0) + (this.#decoder?.decodeQueueSize ?? 0);
  }

  /** Takes a VideoFrame and closes it. */
  push(frame, kbps) {
    const size = `${frame.codedWidth}x${frame.codedHeight}`;
    if (this.#kbps !== kbps || this.#size !== size || this.#encoder?.state !== "configured") {
      this.#open(frame, kbps);
      this.#size = size;
    }
    this.#encoder.encode(frame, { keyFrame: this.#count++ % 240 === 0 });
    frame.close();
  }

  close() {
    for (const coder of [this.#encoder, this.#decoder]) {
      if (coder && coder.state !== "closed") coder.close();
    }
    this.#encoder = this.#decoder = undefined;
  }

  #open(frame, kbps) {
    this.close();
    this.#kbps = kbps;
    this.#count = 0;
    const error = (problem) => console.warn("codec:", problem.message);
    this.#decoder = new VideoDecoder({ output: (decoded) => this.#onFrame(decoded), error });
    this.#decoder.configure({ codec: "vp8" });
    this.#encoder = new VideoEncoder({
      output: (chunk) => this.#decoder?.state === "configured" && this.#decoder.decode(chunk),
      error,
    });
    this.#encoder.configure({
      codec: "vp8",
      width: frame.codedWidth,
      height: frame.codedHeight,
      bitrate: kbps * 1000,
      framerate: 25,
      latencyMode: "realtime",
    });
  }
}
