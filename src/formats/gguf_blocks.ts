/** GGML's tensor element types: how many bytes a run of elements takes, and how the supported ones turn into f32. @module */

import { ModelFormatError } from "../common/errors.ts";
import { bf16ToNumber, f16ToNumber, numberToF16 } from "./f16.ts";
import { isQuantized, quantizedTypes, unpackBlocks, UnpackedWeights } from "./quantized_blocks.ts";

/** One GGML element type: elements come in blocks of `elements`, `bytes` long each. */
export interface GgmlType {
  readonly id: number;
  readonly name: string;
  readonly elements: number;
  readonly bytes: number;
}

// Every type that a GGUF v3 file may hold, so that sizes can be checked and unsupported ones named.
const table: [id: number, name: string, elements: number, bytes: number][] = [
  [0, "F32", 1, 4],
  [1, "F16", 1, 2],
  [2, "Q4_0", 32, 18],
  [3, "Q4_1", 32, 20],
  [6, "Q5_0", 32, 22],
  [7, "Q5_1", 32, 24],
  [8, "Q8_0", 32, 34],
  [9, "Q8_1", 32, 36],
  [10, "Q2_K", 256, 84],
  [11, "Q3_K", 256, 110],
  [12, "Q4_K", 256, 144],
  [13, "Q5_K", 256, 176],
  [14, "Q6_K", 256, 210],
  [15, "Q8_K", 256, 292],
  [16, "IQ2_XXS", 256, 66],
  [17, "IQ2_XS", 256, 74],
  [18, "IQ3_XXS", 256, 98],
  [19, "IQ1_S", 256, 50],
  [20, "IQ4_NL", 32, 18],
  [21, "IQ3_S", 256, 110],
  [22, "IQ2_S", 256, 82],
  [23, "IQ4_XS", 256, 136],
  [24, "I8", 1, 1],
  [25, "I16", 1, 2],
  [26, "I32", 1, 4],
  [27, "I64", 1, 8],
  [28, "F64", 1, 8],
  [29, "IQ1_M", 256, 56],
  [30, "BF16", 1, 2],
  [34, "TQ1_0", 256, 54],
  [35, "TQ2_0", 256, 66],
  [39, "MXFP4", 32, 17],
  [40, "NVFP4", 64, 36],
  [41, "Q1_0", 128, 18],
];

const byId = new Map<number, GgmlType>(
  table.map(([id, name, elements, bytes]) => [id, { id, name, elements, bytes }]),
);
const byName = new Map<string, GgmlType>([...byId.values()].map((t) => [t.name, t]));

/** Element types whose values this project can compute with. */
export const supportedTypes = ["F32", "F16", "BF16", ...quantizedTypes] as const;
/** A name in {@linkcode supportedTypes}. */
export type SupportedType = typeof supportedTypes[number];

/** The type with GGML's number `id`, or undefined when there is none. */
export function ggmlType(id: number): GgmlType | undefined {
  return byId.get(id);
}

/** The type called `name`. Throws `TypeError` when there is none. */
export function ggmlTypeByName(name: string): GgmlType {
  const type = byName.get(name);
  if (!type) {
    throw new TypeError(
      `GGML element type is '${name}', expected one of ${[...byName.keys()].join(", ")}`,
    );
  }
  return type;
}

/** Throws `ModelFormatError` unless this project computes with `type`. `where` names file and tensor. */
export function requireSupported(
  type: GgmlType,
  where: string,
): asserts type is GgmlType & { name: SupportedType } {
  if (!(supportedTypes as readonly string[]).includes(type.name)) {
    throw new ModelFormatError(
      `${where}: element type is ${type.name}, expected one of ${supportedTypes.join(", ")}`,
    );
  }
}

/** Bytes that `elements` elements of `type` take; `elements` must be a multiple of the block. */
export function byteLength(type: GgmlType, elements: number): number {
  if (elements % type.elements !== 0) {
    throw new RangeError(
      `${type.name}: ${elements} elements, expected a multiple of ${type.elements}`,
    );
  }
  return elements / type.elements * type.bytes;
}

/**
 * The f32 values of `elements` elements of `type` in `bytes` (GGML layout, little-endian); `where` names them in errors.
 * Throws `ModelFormatError` for an unsupported type and `RangeError` when the sizes do not fit.
 */
export function dequantize(
  type: GgmlType,
  bytes: Uint8Array,
  elements: number,
  where = "tensor",
): Float32Array<ArrayBuffer> {
  requireSupported(type, where);
  if (bytes.length !== byteLength(type, elements)) {
    throw new RangeError(
      `${type.name}: ${bytes.length} bytes for ${elements} elements, expected ${
        byteLength(type, elements)
      }`,
    );
  }
  if (isQuantized(type)) {
    const unpacked = new UnpackedWeights(elements);
    unpackBlocks(type, bytes, unpacked, where);
    return unpacked.toFloats();
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(elements);
  switch (type.name) {
    case "F32":
      for (let i = 0; i < elements; i++) out[i] = view.getFloat32(4 * i, true);
      break;
    case "F16":
      for (let i = 0; i < elements; i++) out[i] = f16ToNumber(view.getUint16(2 * i, true));
      break;
    case "BF16":
      for (let i = 0; i < elements; i++) out[i] = bf16ToNumber(view.getUint16(2 * i, true));
      break;
  }
  return out;
}

/**
 * `values` as GGML bytes. Q8_0 rounds each value to a multiple of max|block| / 127, as GGML's reference does;
 * rows must then be whole blocks. Throws `RangeError` otherwise.
 */
export function quantize(
  type: "F32" | "F16" | "Q8_0",
  values: Float32Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength(ggmlTypeByName(type), values.length));
  const view = new DataView(bytes.buffer);
  switch (type) {
    case "F32":
      for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
      break;
    case "F16":
      for (let i = 0; i < values.length; i++) view.setFloat16(2 * i, values[i], true);
      break;
    case "Q8_0":
      for (let block = 0; block * 32 < values.length; block++) {
        const part = values.subarray(32 * block, 32 * block + 32);
        let largest = 0;
        for (const x of part) largest = Math.max(largest, Math.abs(x));
        // GGML computes scale and inverse in f32, and divides by the unrounded scale.
        const scale = Math.fround(largest / 127);
        const inverse = scale ? Math.fround(1 / scale) : 0;
        view.setUint16(34 * block, numberToF16(scale), true);
        for (let i = 0; i < part.length; i++) {
          const x = Math.fround(part[i] * inverse);
          // C's roundf: half away from zero.
          view.setInt8(34 * block + 2 + i, Math.sign(x) * Math.floor(Math.abs(x) + 0.5));
        }
      }
      break;
  }
  return bytes;
}
