import { ModelFormatError } from "../common/errors.ts";
import type { GgufFile, GgufTensor } from "../formats/gguf.ts";
import { dequantize, f16ToNumber, requireSupported } from "../formats/gguf_blocks.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { type WeightFormat, WeightMatrix } from "../kernels/weight_matrix.ts";

/** Where a row of the GPU matrix comes from: row `row` of tensor number `tensor`; undefined leaves it zero. */
export type RowSource = { tensor: number; row: number } | undefined;

/** Bytes staged per write: large enough to amortise the call, small enough to stay flat in memory. */
const CHUNK_BYTES = 8 << 20;

/**
 * Loads one matrix made of the rows of one or more GGUF tensors of equal width, in their own format where all agree and the GPU has it
 * (F32, F16, Q8_0), otherwise in f32.
 *
 * @param rowOf row of the result → source row; rows past `rows` are padding and zero
 */
export function uploadMatrix(
  gpu: Gpu,
  file: GgufFile,
  label: string,
  names: readonly string[],
  rows: number,
  rowOf: (row: number) => RowSource,
): WeightMatrix {
  const tensors = names.map((name) => file.tensor(name));
  const [columns] = tensors[0].shape;
  for (const tensor of tensors) {
    requireSupported(tensor.type, `${file.name}: ${tensor.name}`);
    if (tensor.shape.length !== 2 || tensor.shape[0] !== columns) {
      throw new ModelFormatError(
        `${file.name}: ${tensor.name} is [${tensor.shape}], expected rows of ${columns}`,
      );
    }
  }
  const format = commonFormat(tensors);
  const matrix = new WeightMatrix(gpu, label, format, rows, columns);
  const sources = tensors.map((tensor) => new RowReader(file, tensor, format));
  const rowBytes = matrix.wordsPerRow * 16;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  const words = new Uint8Array(Math.min(chunkRows, rows) * rowBytes);
  const scalesPerRow = matrix.columns / 32;
  const scales = new Float32Array(matrix.scales ? Math.min(chunkRows, rows) * scalesPerRow : 0);
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
        scales.subarray(i * scalesPerRow, (i + 1) * scalesPerRow),
      );
    }
    gpu.buffers.write(matrix.words, start * rowBytes, words.subarray(0, count * rowBytes));
    if (matrix.scales) {
      gpu.buffers.write(
        matrix.scales,
        start * scalesPerRow * 4,
        scales.subarray(0, count * scalesPerRow),
      );
    }
    // Staging memory is freed only after a submit.
    gpu.device.queue.submit([]);
  }
  return matrix;
}

/** Loads a matrix whose rows are those of one tensor. */
export function uploadPlain(gpu: Gpu, file: GgufFile, name: string): WeightMatrix {
  const rows = file.tensor(name).shape[1] ?? 0;
  return uploadMatrix(gpu, file, name, [name], rows, (row) => ({ tensor: 0, row }));
}

function commonFormat(tensors: readonly GgufTensor[]): WeightFormat {
  const types = new Set(tensors.map((tensor) => tensor.type.name));
  if (types.size > 1) return "f32";
  const formats: Record<string, WeightFormat> = { F32: "f32", F16: "f16", Q8_0: "q8" };
  return formats[tensors[0].type.name] ?? "f32";
}

/** Reads rows of one tensor through a window of the file, so that neighbouring rows cost one read. */
class RowReader {
  readonly #file: GgufFile;
  readonly #tensor: GgufTensor;
  readonly #format: WeightFormat;
  readonly #columns: number;
  readonly #rowBytes: number;
  readonly #window: Uint8Array<ArrayBuffer>;
  readonly #windowRows: number;
  #windowStart = -1;

  constructor(file: GgufFile, tensor: GgufTensor, format: WeightFormat) {
    this.#file = file;
    this.#tensor = tensor;
    this.#format = format;
    this.#columns = tensor.shape[0];
    const rows = tensor.shape[1];
    this.#rowBytes = tensor.byteLength / rows;
    this.#windowRows = Math.min(rows, Math.max(1, Math.floor((1 << 20) / this.#rowBytes)));
    this.#window = new Uint8Array(this.#windowRows * this.#rowBytes);
  }

  copyRow(row: number, words: Uint8Array, scales: Float32Array): void {
    const bytes = this.#read(row);
    if (this.#format === "q8") {
      // A block is 17 halves: its scale, then 32 bytes. Copying halves in a loop beats a subarray per block tenfold.
      const from = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
      const to = new Uint16Array(words.buffer, words.byteOffset, words.length / 2);
      for (let block = 0; block < this.#columns / 32; block++) {
        const at = block * 17;
        scales[block] = f16ToNumber(from[at]);
        for (let i = 0; i < 16; i++) to[block * 16 + i] = from[at + 1 + i];
      }
    } else if (this.#format === "f32" && this.#tensor.type.name !== "F32") {
      const floats = dequantize(this.#tensor.type, bytes, this.#columns, this.#tensor.name);
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
