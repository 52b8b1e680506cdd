/** Writes GGUF v3 files, for converters and tests. @module */

import { byteLength, ggmlTypeByName, quantize } from "./gguf_blocks.ts";
import type { GgufArray } from "./gguf_metadata.ts";
import { GgufType } from "./gguf_values.ts";

/** Names of GGUF's scalar types. */
export type GgufScalarType = Exclude<keyof typeof GgufType, "array">;

/** A metadata value to write: a string, a boolean, an array (typed by its class), or a number with its type. */
export type GgufInput =
  | string
  | boolean
  | GgufArray
  | { type: Exclude<GgufScalarType, "string" | "bool">; value: number | bigint };

/** A tensor to write, from f32 values or, with any type, from its raw bytes. */
export type GgufTensorInput =
  & { name: string; /** Fastest-varying dimension first. */ shape: number[] }
  & ({ type: "F32" | "F16" | "Q8_0"; values: Float32Array } | { type: string; bytes: Uint8Array });

const alignment = 32;
const encoder = new TextEncoder();

class Output {
  #bytes = new Uint8Array(4096);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  #room(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  bytes(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
  }

  pad(): void {
    this.#room((alignment - this.length % alignment) % alignment);
  }

  string(value: string): void {
    const utf8 = encoder.encode(value);
    this.scalar("uint64", utf8.length);
    this.bytes(utf8);
  }

  scalar(type: GgufScalarType, value: number | bigint): void {
    const bits = {
      uint8: 8,
      int8: 8,
      bool: 8,
      uint16: 16,
      int16: 16,
      uint64: 64,
      int64: 64,
      float64: 64,
      string: 0,
    };
    const at = this.#room((type in bits ? bits[type as keyof typeof bits] : 32) / 8);
    const view = this.#view;
    switch (type) {
      case "uint8":
      case "bool":
        return view.setUint8(at, Number(value));
      case "int8":
        return view.setInt8(at, Number(value));
      case "uint16":
        return view.setUint16(at, Number(value), true);
      case "int16":
        return view.setInt16(at, Number(value), true);
      case "uint32":
        return view.setUint32(at, Number(value), true);
      case "int32":
        return view.setInt32(at, Number(value), true);
      case "float32":
        return view.setFloat32(at, Number(value), true);
      case "float64":
        return view.setFloat64(at, Number(value), true);
      case "uint64":
        return view.setBigUint64(at, BigInt(value), true);
      case "int64":
        return view.setBigInt64(at, BigInt(value), true);
      case "string":
        throw new TypeError("a string is not a number");
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }
}

function typedArrayName(array: Exclude<GgufArray, unknown[]>): GgufScalarType {
  if (array instanceof Uint8Array) return "uint8";
  if (array instanceof Int8Array) return "int8";
  if (array instanceof Uint16Array) return "uint16";
  if (array instanceof Int16Array) return "int16";
  if (array instanceof Uint32Array) return "uint32";
  if (array instanceof Int32Array) return "int32";
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Float64Array) return "float64";
  return array instanceof BigUint64Array ? "uint64" : "int64";
}

function writeArray(out: Output, array: GgufArray): void {
  if (!Array.isArray(array)) {
    const type = typedArrayName(array);
    out.scalar("uint32", GgufType[type]);
    out.scalar("uint64", array.length);
    for (const value of array) out.scalar(type, value);
    return;
  }
  const first = array[0];
  const kind = typeof first === "boolean" ? "bool" : typeof first === "object" ? "array" : "string";
  out.scalar("uint32", GgufType[kind]);
  out.scalar("uint64", array.length);
  for (const value of array) {
    if (typeof value === "string") out.string(value);
    else if (typeof value === "boolean") out.scalar("bool", Number(value));
    else writeArray(out, value);
  }
}

function isArray(value: GgufInput): value is GgufArray {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

function writeValue(out: Output, value: GgufInput): void {
  if (typeof value === "string") {
    out.scalar("uint32", GgufType.string);
    out.string(value);
  } else if (typeof value === "boolean") {
    out.scalar("uint32", GgufType.bool);
    out.scalar("bool", Number(value));
  } else if (isArray(value)) {
    out.scalar("uint32", GgufType.array);
    writeArray(out, value);
  } else {
    out.scalar("uint32", GgufType[value.type]);
    out.scalar(value.type, value.value);
  }
}

function tensorData(tensor: GgufTensorInput): Uint8Array {
  const type = ggmlTypeByName(tensor.type);
  const elements = tensor.shape.reduce((a, n) => a * n, 1);
  const bytes = "bytes" in tensor ? tensor.bytes : quantize(tensor.type, tensor.values);
  if (tensor.shape[0] % type.elements !== 0) {
    throw new RangeError(
      `${tensor.name}: rows have ${
        tensor.shape[0]
      } elements, expected a multiple of ${type.elements} for ${type.name}`,
    );
  }
  if (bytes.length !== elements / type.elements * type.bytes) {
    throw new RangeError(
      `${tensor.name}: ${bytes.length} bytes of ${type.name}, expected shape [${
        tensor.shape.join(", ")
      }]`,
    );
  }
  return bytes;
}

/**
 * A GGUF v3 header alone, padded to where the tensors' data starts, and each tensor's offset from there: for data that is
 * made on the fly.
 */
export function encodeGgufHeader(
  metadata: Record<string, GgufInput>,
  tensors: readonly { name: string; shape: readonly number[]; type: string }[],
): { header: Uint8Array<ArrayBuffer>; offsets: number[]; dataLength: number } {
  const out = new Output();
  out.bytes(encoder.encode("GGUF"));
  out.scalar("uint32", 3);
  out.scalar("uint64", tensors.length);
  out.scalar("uint64", Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    out.string(key);
    writeValue(out, value);
  }
  const offsets: number[] = [];
  let offset = 0;
  for (const { name, shape, type: typeName } of tensors) {
    const type = ggmlTypeByName(typeName);
    out.string(name);
    out.scalar("uint32", shape.length);
    for (const n of shape) out.scalar("uint64", n);
    out.scalar("uint32", type.id);
    out.scalar("uint64", offset);
    offsets.push(offset);
    const length = byteLength(type, shape.reduce((product, n) => product * n, 1));
    offset = Math.ceil((offset + length) / alignment) * alignment;
  }
  out.pad();
  return { header: out.finish(), offsets, dataLength: offset };
}

/**
 * The bytes of a GGUF v3 file with these metadata and tensors, in the given order.
 * Throws `RangeError` when a tensor's data does not have its shape.
 */
export function encodeGguf(
  { metadata, tensors = [] }: { metadata: Record<string, GgufInput>; tensors?: GgufTensorInput[] },
): Uint8Array<ArrayBuffer> {
  const data = tensors.map(tensorData);
  const { header, offsets, dataLength } = encodeGgufHeader(metadata, tensors);
  const file = new Uint8Array(header.length + dataLength);
  file.set(header);
  data.forEach((bytes, i) => file.set(bytes, header.length + offsets[i]));
  return file;
}
