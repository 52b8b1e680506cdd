import { ModelFormatError } from "../common/errors.ts";
import type { GgufFile, GgufTensor } from "../formats/gguf.ts";
import { f16ToNumber } from "../formats/f16.ts";
import { dequantize, requireSupported, type SupportedType } from "../formats/gguf_blocks.ts";
import { isQuantized, unpackBlocks, UnpackedWeights } from "../formats/quantized_blocks.ts";
import type { Gpu } from "../gpu/gpu.ts";
import {
  ROW_MULTIPLE,
  type WeightFormat,
  WeightMatrix,
  weightRowBytes,
} from "../kernels/weight_matrix.ts";
import { packQ4, packQ8g16, packQ8Min } from "./pack_weights.ts";

/** Where a row of the GPU matrix comes from: row `row` of tensor number `tensor`; undefined leaves it zero. */
export type RowSource = { tensor: number; row: number } | undefined;

/** Where weights go. */
export interface WeightTarget {
  gpu: Gpu;
  /** Whether the native library computes the layers. Default false. */
  native?: boolean;
}

/** Bytes staged per write: large enough to amortise the call, small enough to stay flat in memory. */
const CHUNK_BYTES = 8 << 20;

/** How tensors of a type are held on the GPU: quantised ones in 4 bits where they have no more, otherwise in bytes. */
const formats: Record<SupportedType, WeightFormat> = {
  F32: "f32",
  F16: "f16",
  BF16: "f32",
  Q8_0: "q8",
  Q4_0: "q4",
  Q4_1: "q4",
  Q4_K: "q4",
  Q5_0: "q8g16",
  Q5_1: "q8min",
  Q2_K: "q8g16",
  Q3_K: "q8g16",
  Q5_K: "q8min",
  Q6_K: "q8g16",
  IQ4_NL: "q8g16",
  IQ4_XS: "q8g16",
};

/**
 * Loads one matrix made of the rows of one or more GGUF tensors of equal width, in their own format where all agree, in bytes where all
 * are quantised, otherwise in f32.
 *
 * @param rowOf row of the result → source row; rows past `rows` are padding and zero
 */
export function uploadMatrix(
  { gpu, native = false }: WeightTarget,
  file: GgufFile,
  label: string,
  names: readonly string[],
  rows: number,
  rowOf: (row: number) => RowSource,
): WeightMatrix {
  const tensors = names.map((name) => file.tensor(name));
  const [columns] = tensors[0].shape;
  for (const tensor of tensors) {
    if (tensor.shape.length !== 2 || tensor.shape[0] !== columns) {
      throw new ModelFormatError(
        `${file.name}: ${tensor.name} is [${tensor.shape}], expected rows of ${columns}`,
      );
    }
  }
  const format = commonFormat(file, tensors);
  const matrix = new WeightMatrix(
    gpu,
    label,
    format,
    rows,
    columns,
    native,
  );
  const sources = tensors.map((tensor) => new RowReader(file, tensor, format));
  const rowBytes = matrix.wordsPerRow * 16;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  const words = new Uint8Array(Math.min(chunkRows, rows) * rowBytes);
  const scaleBytes = matrix.columns / 8;
  const scales = new Uint8Array(
    format.startsWith("q") ? Math.min(chunkRows, rows) * scaleBytes : 0,
  );
  for (let start = 0; start < rows; start += chunkRows) {
    const count = Math.min(chunkRows, rows - start);
    words.fill(0);
    scales.fill(0);
    for (let i = 0; i < count; i++) {
      const source = rowOf(start + i);
      if (!source) continue;
      sources[source.tensor].copyRow(
        source.row,
        words.subarray(i * rowBytes, (i + 1) * rowBytes),
        scales.subarray(i * scaleBytes, (i + 1) * scaleBytes),
      );
    }
    matrix.write(
      start,
      words.subarray(0, count * rowBytes),
      scales.subarray(0, count * scaleBytes),
    );
    // Staging memory is freed only after a submit.
    gpu.device.queue.submit([]);
  }
  return matrix;
}

/**
 * Loads a tensor of more rows than one buffer may hold (vocabularies are such, where an adapter binds 128 MiB as software Vulkan does): its rows in order, in
 * as few matrices as can be. Each but the last has whole tiles of rows.
 */
export function uploadParts(target: WeightTarget, file: GgufFile, name: string): WeightMatrix[] {
  const { gpu, native } = target;
  const tensor = file.tensor(name);
  const [columns, rows = 0] = tensor.shape;
  const rowBytes = weightRowBytes(commonFormat(file, [tensor]), columns);
  const tiles = Math.floor(gpu.buffers.largest / (rowBytes * ROW_MULTIPLE));
  const most = native ? Infinity : Math.max(1, tiles) * ROW_MULTIPLE;
  const parts: WeightMatrix[] = [];
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const label = count === rows ? name : `${name} from row ${first}`;
    const rowOf = (row: number) => ({ tensor: 0, row: first + row });
    parts.push(uploadMatrix(target, file, label, [name], count, rowOf));
  }
  return parts;
}

/** Loads a matrix whose rows are those of one tensor. */
export function uploadPlain(target: WeightTarget, file: GgufFile, name: string): WeightMatrix {
  const rows = file.tensor(name).shape[1] ?? 0;
  return uploadMatrix(target, file, name, [name], rows, (row) => ({ tensor: 0, row }));
}

function commonFormat(file: GgufFile, tensors: readonly GgufTensor[]): WeightFormat {
  const own = tensors.map(({ name, type }) => {
    requireSupported(type, `${file.name}: ${name}`);
    return formats[type.name];
  });
  if (own.every((format) => format === own[0])) return own[0];
  return tensors.every(({ type }) => isQuantized(type)) ? "q8g16" : "f32";
}

/** Reads rows of one tensor through a window of the file, so that neighbouring rows cost one read. */
class RowReader {
  readonly #file: GgufFile;
  readonly #tensor: GgufTensor;
  readonly #format: WeightFormat;
  readonly #columns: number;
  readonly #unpacked: UnpackedWeights | undefined;
  readonly #rowBytes: number;
  readonly #window: Uint8Array<ArrayBuffer>;
  readonly #windowRows: number;
  #windowStart = -1;

  constructor(file: GgufFile, tensor: GgufTensor, format: WeightFormat) {
    this.#file = file;
    this.#tensor = tensor;
    this.#format = format;
    this.#columns = tensor.shape[0];
    if (format === "q4" || format === "q8g16" || format === "q8min") {
      this.#unpacked = new UnpackedWeights(this.#columns);
    }
    const rows = tensor.shape[1];
    this.#rowBytes = tensor.byteLength / rows;
    this.#windowRows = Math.min(rows, Math.max(1, Math.floor((1 << 20) / this.#rowBytes)));
    this.#window = new Uint8Array(this.#windowRows * this.#rowBytes);
  }

  copyRow(
    row: number,
    words: Uint8Array<ArrayBuffer>,
    scales: Uint8Array<ArrayBuffer>,
  ): void {
    const bytes = this.#read(row);
    const { type, name } = this.#tensor;
    const as = <T>(
      view: new (buffer: ArrayBuffer, at: number, length: number) => T,
      from: Uint8Array<ArrayBuffer>,
      size: number,
    ): T => new view(from.buffer, from.byteOffset, from.byteLength / size);
    if (this.#unpacked && isQuantized(type)) {
      unpackBlocks(type, bytes, this.#unpacked, `${this.#file.name}: ${name}`);
      const halves = as(Float16Array, scales, 2);
      if (this.#format === "q4") packQ4(this.#unpacked, as(Uint32Array, words, 4), halves);
      else if (this.#format === "q8min") packQ8Min(this.#unpacked, as(Int8Array, words, 1), halves);
      else packQ8g16(this.#unpacked, as(Int8Array, words, 1), halves);
    } else if (this.#format === "q8") {
      // A block is 17 halves: its scale, then 32 bytes. Copying halves in a loop beats a subarray per block tenfold.
      const from = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
      const to = as(Uint16Array, words, 2);
      const floats = as(Float32Array, scales, 4);
      for (let block = 0; block < this.#columns / 32; block++) {
        const at = block * 17;
        floats[block] = f16ToNumber(from[at]);
        for (let i = 0; i < 16; i++) to[block * 16 + i] = from[at + 1 + i];
      }
    } else if (this.#format === "f32" && type.name !== "F32") {
      const floats = dequantize(type, bytes, this.#columns, name);
      words.set(new Uint8Array(floats.buffer));
    } else {
      words.set(bytes);
    }
  }

  #read(row: number): Uint8Array<ArrayBuffer> {
    const rows = this.#tensor.shape[1];
    if (row >= rows) {
      throw new ModelFormatError(
        `${this.#file.name}: ${this.#tensor.name} has ${rows} rows, expected at least ${row + 1}`,
      );
    }
    const start = Math.min(
      Math.floor(row / this.#windowRows) * this.#windowRows,
      rows - this.#windowRows,
    );
    if (start !== this.#windowStart) {
      this.#file.readTensor(this.#tensor, {
        start: start * this.#rowBytes,
        length: this.#window.length,
        into: this.#window,
      });
      this.#windowStart = start;
    }
    const at = (row - start) * this.#rowBytes;
    return this.#window.subarray(at, at + this.#rowBytes);
  }
}
