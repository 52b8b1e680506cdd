import { DenseMatrix } from "../../ffi/dense_matrix.ts";
import { roundUp } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Bindings } from "../gpu/kernel_call.ts";
import type { ShaderPath } from "./shader_files.ts";

/**
 * How weights are stored on the GPU: floats; bytes with a scale for each 32, as Q8_0 has them, with a scale for each 16, or with a scale and
 * an offset for each 32 (all 9 bits a weight); four bits with a scale and an offset for each 32 (5 bits).
 */
export type WeightFormat = "f32" | "f16" | "q8" | "q8g16" | "q8min" | "q4";

/** Weights are padded with zeros to whole tiles: columns (K) to 128, four Q8_0 blocks, rows (N) to 64. */
export const COLUMN_MULTIPLE = 128;
export const ROW_MULTIPLE = 64;

/** Weights in a 16-byte word. */
export const weightsPerWord: Record<WeightFormat, number> = {
  f32: 4,
  f16: 8,
  q8: 16,
  q8g16: 16,
  q8min: 16,
  q4: 32,
};

/** Bytes that a row of `columns` weights takes in the larger of its matrix's buffers. */
export function weightRowBytes(format: WeightFormat, columns: number): number {
  return roundUp(columns, COLUMN_MULTIPLE) / weightsPerWord[format] * 16;
}

/** A weight matrix [rows][columns], padded: on the GPU, or in CPU memory where the native library computes the layers. */
export class WeightMatrix {
  readonly #words: GPUBuffer | undefined;
  /** The weights where the native library holds them: nothing is on the GPU then. */
  readonly native: DenseMatrix | undefined;
  /** Four bytes for each block of 32 columns: a scale, or what the format's `unpack_` shader says. Quantised formats only. */
  readonly scales: GPUBuffer | undefined;
  /** Padded sizes. */
  readonly rows: number;
  readonly columns: number;

  constructor(
    readonly gpu: Gpu,
    readonly label: string,
    readonly format: WeightFormat,
    rows: number,
    columns: number,
    native = false,
  ) {
    this.rows = roundUp(rows, ROW_MULTIPLE);
    this.columns = roundUp(columns, COLUMN_MULTIPLE);
    this.native = native ? DenseMatrix.open(format, this.rows, this.columns) : undefined;
    this.#words = !native
      ? gpu.buffers.storage(label, this.rows * this.wordsPerRow * 16)
      : undefined;
    this.scales = !native && format.startsWith("q")
      ? gpu.buffers.storage(`${label} scales`, this.rows * this.columns / 8)
      : undefined;
  }

  /** @throws {TypeError} when only the native library holds the matrix. */
  get words(): GPUBuffer {
    if (!this.#words) throw new TypeError(`weights ${this.label} are not on the GPU`);
    return this.#words;
  }

  /** Writes rows from `first` on as the format has them on the GPU, `scales` of quantised formats only. */
  write(
    first: number,
    words: Uint8Array<ArrayBuffer>,
    scales: Uint8Array<ArrayBuffer>,
  ): void {
    if (this.#words) {
      this.gpu.buffers.write(this.#words, first * this.wordsPerRow * 16, words);
      if (this.scales) this.gpu.buffers.write(this.scales, first * this.columns / 8, scales);
    }
    this.native?.fill(
      first,
      words,
      this.format === "q8"
        ? new Float16Array(new Float32Array(scales.buffer, scales.byteOffset, scales.length / 4))
        : new Float16Array(scales.buffer, scales.byteOffset, scales.length / 2),
    );
  }

  /** Bytes in CPU memory. */
  get nativeBytes(): number {
    if (!this.native) return 0;
    const linesPerBlock = { f32: 0, f16: 0, q8: 1, q8g16: 2, q8min: 2, q4: 2 }[this.format];
    return this.rows * (this.wordsPerRow * 16 + this.columns / 32 * linesPerBlock * 2);
  }

  get wordsPerRow(): number {
    return this.columns / weightsPerWord[this.format];
  }

  get bindings(): Bindings {
    return this.scales ? { weight: this.words, weight_scale: this.scales } : { weight: this.words };
  }

  get fragments(): ShaderPath[] {
    const { format } = this;
    return format === "f32" || format === "f16" || format === "q8"
      ? [`dense/weight_${format}`]
      : [`dense/unpack_${format}`, "dense/weight_pairs"];
  }

  get constants(): Record<string, number> {
    return { WEIGHT_WORDS_PER_ROW: this.wordsPerRow };
  }

  dispose(): void {
    if (this.#words) this.gpu.buffers.destroy(this.#words);
    this.native?.[Symbol.dispose]();
    if (this.scales) this.gpu.buffers.destroy(this.scales);
  }
}
