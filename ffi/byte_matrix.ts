import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary, nativeProblem } from "./load.ts";
import { check } from "./status.ts";

/** What stands for 32 weights of a matrix, as `WeightFormat` names it. */
export type ByteMatrixFormat = "q8" | "q8g16" | "q8min" | "q4";

const formats: Record<ByteMatrixFormat, number> = { q8: 0, q8g16: 1, q8min: 2, q4: 3 };

/** RMS norm of rows on their way into a product. */
export interface RowNorm {
  /** `[columns]`. */
  gains: Float32Array<ArrayBuffer>;
  /** Numbers of a row that count; what follows is padding. */
  width: number;
  epsilon: number;
}

/** What lies between the products of a feed-forward network. */
export type Activation = "swiglu" | "geglu" | "relu2";

const activations: Record<Activation, number> = { swiglu: 0, geglu: 1, relu2: 2 };

const noGains = new Float32Array(0);

/**
 * A matrix `[outputs][columns]` of quantised weights in CPU memory, multiplied by the processor's byte products. Lives in the native library.
 */
export class ByteMatrix implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "byte matrix",
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
  static open(format: ByteMatrixFormat, outputs: number, columns: number): ByteMatrix {
    const library = loadNative();
    const out = new BigUint64Array(1);
    check(library, library.symbols.sparrow_matrix_open(formats[format], outputs, columns, out));
    return new ByteMatrix(library, out[0]);
  }

  /**
   * Sets outputs from `first` on.
   * @param codes row by row: signed bytes; or nibbles, of each 32 weights the first 16 in the low halves of 16 bytes
   * @param lines for each 32 weights a scale, two scales, or a scale and an offset, as the format has them
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
   * Products of rows, one blocking call; each 32 numbers of a row are rounded to 15 bits by the largest of them. A row's products do not depend on
   * the rows beside it.
   * @param rows `[rows][columns]`
   * @param out `[outputs / 32][rows][32]`
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
   * `down · activation(this · rows)` of a feed-forward network, otherwise as `multiply`; outputs of gated networks' first matrix are pairs of gate and value.
   * @param out `[outputs of down / 32][rows][32]`
   * @throws {RangeError} for lengths that do not fit.
   */
  feedForward(
    down: ByteMatrix,
    activation: Activation,
    rows: Float32Array<ArrayBuffer>,
    out: Float32Array<ArrayBuffer>,
    norm?: RowNorm,
  ): void {
    const { gains, width, epsilon } = norm ?? { gains: noGains, width: 0, epsilon: 0 };
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_matrix_feed_forward(
        this.#handle.id,
        down.#handle.id,
        activations[activation],
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

  /** Frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
