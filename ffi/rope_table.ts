import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** Rotations of heads by their positions (RoPE: Su et al. 2021), as layers in CPU memory take them. Lives in the native library. */
export class RopeTable implements Disposable {
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint) {
    this.#handle = new Handle(
      this,
      "rope table",
      id,
      (id) => library.symbols.sparrow_rope_dispose(id),
    );
  }

  /**
   * @param dim elements of a head
   * @param values cos and sin of 256 positions, then of every 256th one, `[row][dim / 2][2]`
   * @throws {RangeError} when these are not whole rows.
   * @throws {Error} without the native library.
   */
  static open(dim: number, values: Float32Array<ArrayBuffer>): RopeTable {
    const library = loadNative();
    const out = new BigUint64Array(1);
    check(library, library.symbols.sparrow_rope_open(dim, values, values.length, out));
    return new RopeTable(library, out[0]);
  }

  /**
   * The native number, for layers that use it.
   * @throws {TypeError} after it was disposed of.
   */
  get id(): bigint {
    return this.#handle.id;
  }

  /** Frees the table; layers that have it keep it. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
