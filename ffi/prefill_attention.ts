import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** Sizes of attention. */
export interface PrefillShape {
  heads: number;
  /** A divisor of `heads`. */
  kvHeads: number;
  /** Elements of a head, padding included: a multiple of 64. */
  dim: number;
  /** Latest keys that a row sees, its own included; default all. */
  window?: number;
}

/**
 * Exact causal attention of successive rows of one sequence, to which its keys and values are given page by page. Lives in the native library. What a row gets does
 * not depend on the rows beside it.
 */
export class PrefillAttention implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "prefill attention",
      id,
      (id) => library.symbols.sparrow_prefill_dispose(id),
    );
  }

  /**
   * Begins.
   * @param position of the first row
   * @param queries `[row][head][dim]`, scaled such that weights are powers of two
   * @throws {RangeError} for sizes that do not fit together.
   * @throws {Error} without the native library.
   */
  static open(
    { heads, kvHeads, dim, window = 0 }: PrefillShape,
    position: number,
    queries: Float32Array<ArrayBuffer>,
  ): PrefillAttention {
    const library = loadNative();
    const out = new BigUint64Array(1);
    check(
      library,
      library.symbols.sparrow_prefill_open(
        heads,
        kvHeads,
        dim,
        window,
        position,
        queries,
        queries.length,
        out,
      ),
    );
    return new PrefillAttention(library, out[0]);
  }

  /**
   * Attends to pages from number `first` of the sequence on, each given once; one blocking call.
   * @param keys halves `[page][KV head][64][dim]`
   * @param values likewise
   * @throws {RangeError} for lengths that are not those of whole pages.
   */
  attend(first: number, keys: Uint16Array<ArrayBuffer>, values: Uint16Array<ArrayBuffer>): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_prefill_attend(
        this.#handle.id,
        first,
        keys,
        keys.length,
        values,
        values.length,
      ),
    );
  }

  /**
   * The outputs.
   * @param kept elements of each head that are wanted
   * @param stride elements from one row of `out` to the next
   * @param out `[row][stride]`, of which the first `heads · kept` are written
   * @throws {RangeError} when they do not fit.
   */
  finish(kept: number, stride: number, out: Float32Array<ArrayBuffer>): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_prefill_finish(this.#handle.id, kept, stride, out, out.length),
    );
  }

  /** Frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
