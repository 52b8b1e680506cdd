/**
 * GGUF model files, versions 2 and 3, little-endian.
 * Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";
import { ByteReader } from "./byte_reader.ts";
import { type ByteSource, FileSource, MemorySource } from "./file_source.ts";
import { byteLength, dequantize, type GgmlType, ggmlType } from "./gguf_blocks.ts";
import { GgufMetadata, type GgufValue } from "./gguf_metadata.ts";
import { readMetadata, readString } from "./gguf_values.ts";

// Caps on what a header may claim; the largest public models stay far below (2,000 tensors, 60 keys).
const maxTensors = 65536;
const maxKeys = 65536;
const maxNameBytes = 512;
const maxDimensions = 4;
const maxAlignment = 1 << 20;

/** One tensor of a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Dimensions as GGML orders them: fastest-varying first, so a matrix is `[columns, rows]`. */
  readonly shape: readonly number[];
  /** Product of `shape`. */
  readonly elements: number;
  /** Where the data starts in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An open GGUF file: metadata and tensor table in memory, tensor data read on demand. */
export class GgufFile implements Disposable {
  readonly name: string;
  readonly version: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  readonly #source: ByteSource;

  private constructor(
    source: ByteSource,
    version: number,
    metadata: GgufMetadata,
    tensors: ReadonlyMap<string, GgufTensor>,
  ) {
    this.name = source.name;
    this.#source = source;
    this.version = version;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /** Opens the file at `path`. Throws `ModelFormatError` when it is not a well-formed GGUF file. */
  static open(path: string): GgufFile {
    const source = FileSource.open(path);
    try {
      return GgufFile.read(source);
    } catch (error) {
      source[Symbol.dispose]();
      throw error;
    }
  }

  /** Reads the header of `source`, which the result then owns. */
  static read(source: ByteSource | Uint8Array): GgufFile {
    if (source instanceof Uint8Array) source = new MemorySource(source);
    const reader = new ByteReader(source);
    const version = readVersion(reader);
    const tensorCount = reader.count("tensor count", maxTensors);
    const keyCount = reader.count("metadata key count", maxKeys);
    const metadata = new GgufMetadata(readMetadata(reader, keyCount), source.name);
    const tensors = readTensorTable(reader, tensorCount, metadata, source);
    return new GgufFile(source, version, metadata, tensors);
  }

  /** The tensor called `name`. Throws `ModelFormatError` when the file has none. */
  tensor(name: string): GgufTensor {
    const tensor = this.tensors.get(name);
    if (!tensor) {
      throw new ModelFormatError(`${this.name}: tensor ${name} is absent, expected it in the file`);
    }
    return tensor;
  }

  /**
   * The raw bytes of a tensor, or of `length` bytes from byte `start` of it. `into`, when given, must be that long;
   * it is filled and returned, so that one staging buffer can serve a whole model.
   */
  readTensor(
    tensor: GgufTensor,
    { start = 0, length = tensor.byteLength - start, into = new Uint8Array(length) }: {
      start?: number;
      length?: number;
      into?: Uint8Array<ArrayBuffer>;
    } = {},
  ): Uint8Array<ArrayBuffer> {
    if (start < 0 || length < 0 || start + length > tensor.byteLength || into.length !== length) {
      throw new RangeError(
        `${tensor.name}: bytes [${start}, ${start + length}) into a buffer of ${into.length}, ` +
          `expected a range inside ${tensor.byteLength} bytes and a buffer of its length`,
      );
    }
    this.#source.read(tensor.offset + start, into);
    return into;
  }

  /** A tensor's values as f32 (of the types in `supportedTypes`; otherwise `ModelFormatError`). For oracles and small tensors. */
  readFloats(tensor: GgufTensor): Float32Array<ArrayBuffer> {
    return dequantize(
      tensor.type,
      this.readTensor(tensor),
      tensor.elements,
      `${this.name}: ${tensor.name}`,
    );
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

function readVersion(reader: ByteReader): number {
  const magic = reader.latin1(4, "magic");
  if (magic !== "GGUF") throw reader.error("magic", JSON.stringify(magic), '"GGUF"');
  const version = reader.u32("version");
  if (version !== 0 && (version & 0xffff) === 0) {
    throw reader.error("byte order", "big-endian", "little-endian");
  }
  if (version !== 2 && version !== 3) throw reader.error("version", `${version}`, "2 or 3");
  return version;
}

interface TensorHeader {
  name: string;
  type: GgmlType;
  shape: number[];
  elements: number;
  /** Relative to the start of the data section. */
  offset: number;
}

function readTensorHeader(reader: ByteReader, index: number): TensorHeader {
  const name = readString(reader, `name of tensor ${index}`, maxNameBytes);
  const dimensions = reader.u32(`${name}: dimension count`);
  if (dimensions < 1 || dimensions > maxDimensions) {
    throw reader.error(`${name}: dimension count`, `${dimensions}`, `1 to ${maxDimensions}`);
  }
  const shape: number[] = [];
  let elements = 1;
  for (let d = 0; d < dimensions; d++) {
    const n = reader.count(`${name}: dimension ${d}`, Number.MAX_SAFE_INTEGER);
    if (n < 1 || elements * n > Number.MAX_SAFE_INTEGER) {
      throw reader.error(`${name}: dimension ${d}`, `${n}`, "at least 1 and a product below 2^53");
    }
    shape.push(n);
    elements *= n;
  }
  const typeId = reader.u32(`${name}: element type`);
  const type = ggmlType(typeId);
  if (!type) throw reader.error(`${name}: element type`, `${typeId}`, "a known GGML type number");
  if (shape[0] % type.elements !== 0) {
    throw reader.error(
      `${name}: dimension 0`,
      `${shape[0]}`,
      `a multiple of ${type.elements} for ${type.name}`,
    );
  }
  const offset = reader.count(`${name}: offset`, Number.MAX_SAFE_INTEGER);
  return { name, type, shape, elements, offset };
}

function readTensorTable(
  reader: ByteReader,
  count: number,
  metadata: GgufMetadata,
  source: ByteSource,
): Map<string, GgufTensor> {
  const headers = Array.from({ length: count }, (_, i) => readTensorHeader(reader, i));
  const alignment = metadata.integer("general.alignment", 1, maxAlignment, 32);
  if ((alignment & (alignment - 1)) !== 0) {
    throw metadata.error("general.alignment", "a power of two");
  }
  const dataStart = Math.ceil(reader.offset / alignment) * alignment;

  const tensors = new Map<string, GgufTensor>();
  for (const { offset, ...header } of headers) {
    if (tensors.has(header.name)) {
      throw reader.error(`tensor ${header.name}`, "there twice", "once");
    }
    if (offset % alignment !== 0) {
      throw reader.error(`${header.name}: offset`, `${offset}`, `a multiple of ${alignment}`);
    }
    const tensor = {
      ...header,
      offset: dataStart + offset,
      byteLength: byteLength(header.type, header.elements),
    };
    if (tensor.offset > source.size - tensor.byteLength) {
      throw reader.error(
        `${tensor.name}: data`,
        `at bytes [${tensor.offset}, ${tensor.offset + tensor.byteLength})`,
        `inside the file of ${source.size} bytes`,
      );
    }
    tensors.set(tensor.name, tensor);
  }

  const inFileOrder = [...tensors.values()].sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < inFileOrder.length; i++) {
    const [before, after] = [inFileOrder[i - 1], inFileOrder[i]];
    if (before.offset + before.byteLength > after.offset) {
      throw reader.error(
        `${after.name}: data`,
        `at byte ${after.offset}`,
        `after the end of ${before.name}`,
      );
    }
  }
  return tensors;
}

export type { GgmlType } from "./gguf_blocks.ts";
export { GgufMetadata, type GgufValue };
