const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Longest frame in bytes: a prompt of 10 million tokens fits, a corrupt length does not allocate the machine. */
const MAX_FRAME = 1 << 27;

/** `value` as JSON in UTF-8 behind its length in bytes (u32, little endian). */
export function encodeFrame(value: unknown): Uint8Array<ArrayBuffer> {
  const json = encoder.encode(JSON.stringify(value));
  if (json.length > MAX_FRAME) {
    throw new RangeError(`frame has ${json.length} bytes, at most ${MAX_FRAME} may be sent`);
  }
  const frame = new Uint8Array(4 + json.length);
  new DataView(frame.buffer).setUint32(0, json.length, true);
  frame.set(json, 4);
  return frame;
}

/** Cuts a byte stream back into the values that `encodeFrame` wrote, however the stream was chunked. */
export class FrameDecoder {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** The values that `chunk` completes. Throws `RangeError` or `SyntaxError` when the stream is not of frames. */
  push(chunk: Uint8Array): unknown[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const values: unknown[] = [];
    while (this.#bytes >= 4) {
      const head = this.#peek(4);
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0, true);
      if (length > MAX_FRAME) {
        throw new RangeError(`frame says ${length} bytes, expected at most ${MAX_FRAME}`);
      }
      if (this.#bytes < 4 + length) break;
      const frame = this.#peek(4 + length);
      values.push(JSON.parse(decoder.decode(frame.subarray(4, 4 + length))));
      this.#drop(4 + length);
    }
    return values;
  }

  /** A view that starts with the next `length` bytes; joins chunks only when they do not lie in the first. */
  #peek(length: number): Uint8Array {
    if (this.#chunks[0].length < length) {
      const joined = new Uint8Array(this.#bytes);
      let at = 0;
      for (const chunk of this.#chunks) {
        joined.set(chunk, at);
        at += chunk.length;
      }
      this.#chunks = [joined];
    }
    return this.#chunks[0];
  }

  #drop(length: number): void {
    this.#bytes -= length;
    const rest = this.#chunks[0].subarray(length);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
  }
}
