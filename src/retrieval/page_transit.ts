import type { Gpu } from "../gpu/gpu.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { type KvCache, pageBytes } from "../model/kv_cache.ts";
import type { AttentionShape } from "../kernels/attention_shape.ts";
import type { KvContext } from "../../ffi/kv_context.ts";

/** Least bytes read at a time: one page of all layers of a large model is more, of a small one far less. */
const READ_BYTES = 4 * 2 ** 20;

/** Moves KV pages and sampled queries from the GPU to a context in CPU memory. */
export class PageTransit implements Disposable {
  readonly #gpu: Gpu;
  readonly #cache: Pick<KvCache, "keys" | "values">;
  readonly #pageBytes: number;
  readonly #readback: Readback;
  /** Where pieces from many buffers are put side by side, so that one read takes them all. */
  readonly buffer: GPUBuffer;

  private constructor(
    gpu: Gpu,
    cache: Pick<KvCache, "keys" | "values">,
    bytesOfPage: number,
    readback: Readback,
    buffer: GPUBuffer,
  ) {
    this.#gpu = gpu;
    this.#cache = cache;
    this.#pageBytes = bytesOfPage;
    this.#readback = readback;
    this.buffer = buffer;
  }

  /**
   * @param cache keys and values of the layers that a context holds
   * @param atLeast bytes that `buffer` must hold for other uses
   */
  static async open(
    gpu: Gpu,
    cache: Pick<KvCache, "keys" | "values">,
    shape: AttentionShape,
    atLeast: number,
  ): Promise<PageTransit> {
    const page = pageBytes(shape);
    const bytes = Math.max(READ_BYTES, 2 * cache.keys.length * page, atLeast);
    const buffer = gpu.buffers.storage("page transit", bytes);
    return new PageTransit(gpu, cache, page, await Readback.open(gpu, bytes), buffer);
  }

  /** Reads the first `bytes` bytes of `buffer`, of work already submitted. Blocks. */
  read(bytes: number): ArrayBuffer {
    const pass = new StepPass(this.#gpu);
    this.#readback.record(pass, this.buffer, 0, bytes);
    pass.submit();
    return this.#readback.read();
  }

  /** Appends `pages`, every layer, to `context`. Blocks. */
  move(pages: readonly number[], context: KvContext): void {
    const { keys, values } = this.#cache;
    const bytes = this.#pageBytes;
    const perRead = Math.floor(this.buffer.size / (2 * keys.length * bytes));
    for (let at = 0; at < pages.length; at += perRead) {
      const part = pages.slice(at, at + perRead);
      const pass = new StepPass(this.#gpu);
      let to = 0;
      for (const source of keys.flatMap((key, layer) => [key, values[layer]])) {
        for (const page of part) {
          pass.copy(source, page * bytes, this.buffer, to, bytes);
          to += bytes;
        }
      }
      this.#readback.record(pass, this.buffer, 0, to);
      pass.submit();
      const words = new Uint16Array(this.#readback.read());
      const length = part.length * bytes / 2;
      for (let layer = 0; layer < keys.length; layer++) {
        const start = 2 * layer * length;
        context.append(
          layer,
          words.subarray(start, start + length),
          words.subarray(start + length, start + 2 * length),
        );
      }
    }
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#readback.dispose();
    this.#gpu.buffers.destroy(this.buffer);
  }
}
