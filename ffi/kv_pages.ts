import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** Sizes of a cache. */
export interface KvPagesShape {
  layers: number;
  kvHeads: number;
  /** Elements of a head, padding included: a multiple of 64. */
  dim: number;
  /** Pages of each layer, of 64 tokens. */
  pages: number;
}

/** Keys and values of a model's layers in CPU memory, in pages of 64 tokens and half precision. Lives in the native library, which takes memory as it is written. */
export class KvPages implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint, readonly shape: KvPagesShape) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "KV cache",
      id,
      (id) => library.symbols.sparrow_kv_dispose(id),
    );
  }

  /**
   * A cache of zeros.
   * @throws {RangeError} for sizes of 0, or more than there is memory for.
   * @throws {Error} without the native library.
   */
  static open(shape: KvPagesShape): KvPages {
    const library = loadNative();
    const out = new BigUint64Array(1);
    const { layers, kvHeads, dim, pages } = shape;
    check(library, library.symbols.sparrow_kv_open(layers, kvHeads, dim, pages, out));
    return new KvPages(library, out[0], shape);
  }

  /**
   * The native number, for layers that use it.
   * @throws {TypeError} after it was disposed of.
   */
  get id(): bigint {
    return this.#handle.id;
  }

  /** Elements of a page's keys in one layer, or of its values. */
  get pageElements(): number {
    return this.shape.kvHeads * 64 * this.shape.dim;
  }

  /**
   * Copies a page, all layers.
   * @throws {RangeError} when there is none of that number.
   */
  copy(from: number, to: number): void {
    check(this.#library, this.#library.symbols.sparrow_kv_copy(this.#handle.id, from, to));
  }

  /**
   * Pages of a layer as the bits of halves, both `[page][KV head][64][dim]`.
   * @throws {RangeError} when there is no such layer or page.
   */
  read(
    layer: number,
    pages: readonly number[],
  ): { keys: Uint16Array<ArrayBuffer>; values: Uint16Array<ArrayBuffer> } {
    const keys = new Uint16Array(pages.length * this.pageElements);
    const values = new Uint16Array(keys.length);
    check(
      this.#library,
      this.#library.symbols.sparrow_kv_read(
        this.#handle.id,
        layer,
        Uint32Array.from(pages),
        pages.length,
        keys,
        keys.length,
        values,
        values.length,
      ),
    );
    return { keys, values };
  }

  /**
   * Sets pages of a layer to what `read` gives.
   * @throws {RangeError} when there is no such layer or page, or the lengths are not theirs.
   */
  write(
    layer: number,
    pages: readonly number[],
    keys: Uint16Array<ArrayBuffer>,
    values: Uint16Array<ArrayBuffer>,
  ): void {
    check(
      this.#library,
      this.#library.symbols.sparrow_kv_write(
        this.#handle.id,
        layer,
        Uint32Array.from(pages),
        pages.length,
        keys,
        keys.length,
        values,
        values.length,
      ),
    );
  }

  /** Frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
