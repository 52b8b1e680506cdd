/**
 * Safetensors files: a JSON table of tensors, then their data.
 * Layout: https://github.com/huggingface/safetensors#format
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";
import { ByteReader } from "./byte_reader.ts";
import { type ByteSource, FileSource, MemorySource } from "./file_source.ts";
import { bf16ToNumber, f16ToNumber } from "./f16.ts";

const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** Names of the format's element types. */
export type SafetensorsType = keyof typeof elementBytes;

const maxHeaderBytes = 100_000_000; // the reference implementation's cap
const maxDimensions = 16;

/** One tensor of a safetensors file. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly type: SafetensorsType;
  /** Last dimension fastest. */
  readonly shape: readonly number[];
  readonly elements: number;
  /** Where the data starts in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An open safetensors file: the table in memory, tensor data read on demand. */
export class SafetensorsFile implements Disposable {
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
  readonly #source: ByteSource;

  private constructor(
    source: ByteSource,
    metadata: Record<string, string>,
    tensors: ReadonlyMap<string, SafetensorsTensor>,
  ) {
    this.name = source.name;
    this.#source = source;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /** Opens the file at `path`. Throws `ModelFormatError` when it is not a well-formed safetensors file. */
  static open(path: string): SafetensorsFile {
    const source = FileSource.open(path);
    try {
      return SafetensorsFile.read(source);
    } catch (error) {
      source[Symbol.dispose]();
      throw error;
    }
  }

  /** Reads the table of `source`, which the result then owns. */
  static read(source: ByteSource | Uint8Array): SafetensorsFile {
    if (source instanceof Uint8Array) source = new MemorySource(source);
    const reader = new ByteReader(source);
    const length = reader.count("header length", Math.min(maxHeaderBytes, source.size - 8));
    const header = parseHeader(reader, reader.utf8(length, "header"));
    const dataStart = reader.offset;
    let metadata: Record<string, string> = {};
    const tensors: SafetensorsTensor[] = [];
    for (const [name, entry] of Object.entries(header)) {
      if (name === "__metadata__") metadata = readMetadata(reader, entry);
      else tensors.push(readTensor(reader, name, entry, dataStart));
    }
    checkCoverage(reader, tensors, dataStart, source.size);
    return new SafetensorsFile(source, metadata, new Map(tensors.map((t) => [t.name, t])));
  }

  /** The tensor called `name`. Throws `ModelFormatError` when the file has none. */
  tensor(name: string): SafetensorsTensor {
    const tensor = this.tensors.get(name);
    if (!tensor) {
      throw new ModelFormatError(`${this.name}: tensor ${name} is absent, expected it in the file`);
    }
    return tensor;
  }

  /** The raw bytes of a tensor. */
  readTensor(tensor: SafetensorsTensor): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(tensor.byteLength);
    this.#source.read(tensor.offset, bytes);
    return bytes;
  }

  /** A tensor's values as f32. Throws `ModelFormatError` unless it is F32, F16 or BF16. */
  readFloats(tensor: SafetensorsTensor): Float32Array<ArrayBuffer> {
    const bytes = this.readTensor(tensor);
    switch (tensor.type) {
      case "F32":
        return new Float32Array(bytes.buffer);
      case "F16":
        return Float32Array.from(new Uint16Array(bytes.buffer), f16ToNumber);
      case "BF16":
        return Float32Array.from(new Uint16Array(bytes.buffer), bf16ToNumber);
      default:
        throw new ModelFormatError(
          `${this.name}: ${tensor.name}: element type is ${tensor.type}, expected F32, F16 or BF16`,
        );
    }
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseHeader(reader: ByteReader, text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw reader.error("header", `not JSON (${error.message})`, "a JSON object");
  }
  if (!isObject(header)) throw reader.error("header", "another JSON value", "a JSON object");
  return header;
}

function readMetadata(reader: ByteReader, entry: unknown): Record<string, string> {
  if (!isObject(entry) || Object.values(entry).some((v) => typeof v !== "string")) {
    throw reader.error("__metadata__", "of another shape", "an object of strings");
  }
  return entry as Record<string, string>;
}

function readTensor(
  reader: ByteReader,
  name: string,
  entry: unknown,
  dataStart: number,
): SafetensorsTensor {
  if (!isObject(entry)) throw reader.error(`${name}: entry`, typeof entry, "an object");
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype)) {
    throw reader.error(
      `${name}: dtype`,
      JSON.stringify(dtype) ?? "absent",
      Object.keys(elementBytes).join(", "),
    );
  }
  const type = dtype as SafetensorsType;
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(shape) || shape.length > maxDimensions || !shape.every(isCount)) {
    throw reader.error(
      `${name}: shape`,
      show(shape),
      `up to ${maxDimensions} non-negative integers`,
    );
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw reader.error(`${name}: data_offsets`, show(offsets), "[begin, end]");
  }
  const [begin, end] = offsets as [number, number];
  const elements = (shape as number[]).reduce((a, n) => a * n, 1);
  const need = elements * elementBytes[type];
  if (end - begin !== need) {
    throw reader.error(
      `${name}: data_offsets`,
      show(offsets),
      `${need} bytes for ${type} of shape ${show(shape)}`,
    );
  }
  return {
    name,
    type,
    shape: shape as number[],
    elements,
    offset: dataStart + begin,
    byteLength: need,
  };
}

/** The format lets tensors neither overlap nor leave bytes unused. */
function checkCoverage(
  reader: ByteReader,
  tensors: SafetensorsTensor[],
  dataStart: number,
  size: number,
): void {
  let at = dataStart;
  for (
    const tensor of tensors.toSorted((a, b) => a.offset - b.offset || a.byteLength - b.byteLength)
  ) {
    if (tensor.offset !== at) {
      throw reader.error(
        `${tensor.name}: data`,
        `at byte ${tensor.offset}`,
        `byte ${at}, where the one before ends`,
      );
    }
    at += tensor.byteLength;
  }
  if (at !== size) throw reader.error("file", `${size} bytes long`, `${at} by its tensors`);
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "absent").slice(0, 80);
}
