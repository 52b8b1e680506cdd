import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary, nativeProblem } from "./load.ts";
import { check } from "./status.ts";

/** How a matrix holds its weights, as `WeightFormat` names it. */
export type DenseMatrixFormat = "q8" | "q8g16" | "q8min" | "q4" | "f16" | "f32";

const formats: Record<DenseMatrixFormat, number> = {
  q8: 0,
  q8g16: 1,
  q8min: 2,
  q4: 3,
  f16: 4,
  f32: 5,
};

/** RMS norm of rows on their way into a product. */
export interface RowNorm {
  /** `[columns]`. */
  gains: Float32Array<ArrayBuffer>;
  /** Numbers of a row that count; what follows is padding. */
  width: number;
  epsilon: number;
}

const noGains = new Float32Array(0);

/**
 * A matrix `[outputs][columns]` of weights in CPU memory, quantised ones multiplied by the processor's byte products. Lives in the native library.
 */
export class DenseMatrix implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint, readonly outputs: number) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "dense matrix",
      id,
      (id) => library.symbols.sparrow_matrix_dispose(id),
    );
  }

  /** Whether products here are faster than those of shaders on a software adapter. False without the native library. */
  static get pays(): boolean {
    if (nativeProblem() !== undefined) return false;
    const library = loadNative();
    const out = new Uint32Array(1);
    check(library, library.symbols.sparrow_products_pay(out));
    return out[0] === 1;
  }

  /**
   * A matrix of zeros.
   * @param outputs a multiple of 32
   * @param columns a multiple of 32
   * @throws {RangeError} for other sizes.
   * @throws {Error} without the native library.
   */
  static open(format: DenseMatrixFormat, outputs: number, columns: number): DenseMatrix {
    const library = loadNative();
    const out = new BigUint64Array(1);
    check(library, library.symbols.sparrow_matrix_open(formats[format], outputs, columns, out));
    return new DenseMatrix(library, out[0], outputs);
  }

  /**
   * The native number, for layers that use it.
   * @throws {TypeError} after it was disposed of.
   */
  get id(): bigint {
    return this.#handle.id;
  }

  /**
   * Sets outputs from `first` on.
   * @param codes row by row: signed bytes; or nibbles, of each 32 weights the first 16 in the low halves of 16 bytes; or
   * the bytes of floats
   * @param lines for each 32 weights a scale, two scales, or a scale and an offset, as the format has them; none of floats
   * @throws {RangeError} for lengths that are not those of whole outputs that the matrix has.
   */
  fill(first: number, codes: Uint8Array<ArrayBuffer>, lines: Float16Array<ArrayBuffer>): void {
    const bits = new Uint16Array(lines.buffer, lines.byteOffset, lines.length);
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_matrix_fill(
        this.#handle.id,
        first,
        codes,
        codes.length,
        bits,
        bits.length,
      ),
    );
  }

  /**
   * Products of rows, one blocking call; with quantised weights each 32 numbers of a row are rounded to 15 bits by the largest of them. A row's products do not
   * depend on the rows beside it.
   * @param rows `[rows][columns]`
   * @param out `[rows][outputs]`
   * @param norm what rows are divided by first
   * @throws {RangeError} for lengths that do not fit.
   */
  multiply(
    rows: Float32Array<ArrayBuffer>,
    out: Float32Array<ArrayBuffer>,
    norm?: RowNorm,
  ): void {
    const { gains, width, epsilon } = norm ?? { gains: noGains, width: 0, epsilon: 0 };
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_matrix_multiply(
        this.#handle.id,
        rows,
        rows.length,
        gains,
        gains.length,
        width,
        epsilon,
        out,
        out.length,
      ),
    );
  }

  /**
   * The weights of some outputs, times a factor.
   * @param out `[outputs][columns]`
   * @throws {RangeError} when there is no such output, or the length does not fit.
   */
  gather(
    outputs: Uint32Array<ArrayBuffer>,
    factor: number,
    out: Float32Array<ArrayBuffer>,
  ): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_matrix_gather(
        this.#handle.id,
        outputs,
        outputs.length,
        factor,
        out,
        out.length,
      ),
    );
  }

  /** Frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
