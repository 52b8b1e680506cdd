/** Collects the chunks of a byte stream and hands out exact lengths. */
export class ByteQueue {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Uint8Array[] = [];
  #size = 0;
  #offset = 0;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** Bytes handed out so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes waiting. */
  get held(): number {
    return this.#size;
  }

  /** Waits until `length` bytes are held; false when the stream ends first. */
  async fill(length: number): Promise<boolean> {
    while (this.#size < length) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      if (value.length === 0) continue;
      this.#held.push(value);
      this.#size += value.length;
    }
    return true;
  }

  /** The next `length` bytes, a copy of its own; undefined when the stream ends before. */
  async take(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (!(await this.fill(length))) return undefined;
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const first = this.#held[0];
      const part = first.subarray(0, length - at);
      out.set(part, at);
      at += part.length;
      if (part.length === first.length) this.#held.shift();
      else this.#held[0] = first.subarray(part.length);
    }
    this.#size -= length;
    this.#offset += length;
    return out;
  }

  /** Bytes up to and without the next `end`, which is dropped; undefined when none comes within `limit` bytes. */
  async line(end: number, limit: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (let want = 1;; want = this.#size + 1) {
      let at = 0;
      for (const chunk of this.#held) {
        const found = chunk.indexOf(end);
        if (found >= 0) {
          if (at + found > limit) return undefined;
          const out = await this.take(at + found + 1);
          return out?.subarray(0, at + found);
        }
        at += chunk.length;
      }
      if (this.#size > limit || !(await this.fill(want))) return undefined;
    }
  }

  /** Tells the source that no more is wanted. */
  async cancel(): Promise<void> {
    this.#held = [];
    this.#size = 0;
    await this.#chunks.return?.();
  }
}
