/** Reads the typed values of GGUF metadata. @module */

import type { ByteReader } from "./byte_reader.ts";
import type { GgufArray, GgufValue } from "./gguf_metadata.ts";

const maxKeyBytes = 65535; // the format's own limit
const maxStringBytes = 64 << 20;
const maxNesting = 4;

/** GGUF's numbers for metadata value types. */
export const GgufType = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

const T = GgufType;

type NumberArray = Exclude<GgufArray, unknown[]>;
const numeric: Record<number, new (buffer: ArrayBuffer) => NumberArray> = {
  [T.uint8]: Uint8Array,
  [T.int8]: Int8Array,
  [T.uint16]: Uint16Array,
  [T.int16]: Int16Array,
  [T.uint32]: Uint32Array,
  [T.int32]: Int32Array,
  [T.float32]: Float32Array,
  [T.uint64]: BigUint64Array,
  [T.int64]: BigInt64Array,
  [T.float64]: Float64Array,
};
const numericBytes: Record<number, number> = {
  [T.uint8]: 1,
  [T.int8]: 1,
  [T.uint16]: 2,
  [T.int16]: 2,
  [T.uint32]: 4,
  [T.int32]: 4,
  [T.float32]: 4,
  [T.uint64]: 8,
  [T.int64]: 8,
  [T.float64]: 8,
};

/** A string with its 64-bit length in front. */
export function readString(reader: ByteReader, field: string, maxBytes = maxStringBytes): string {
  const length = reader.count(`${field}: length`, maxBytes);
  return reader.utf8(length, field);
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function readBool(reader: ByteReader, field: string): boolean {
  const byte = reader.u8(field);
  if (byte > 1) throw reader.error(field, `${byte}`, "0 or 1");
  return byte === 1;
}

function readArray(reader: ByteReader, field: string, depth: number): GgufArray {
  if (depth > maxNesting) {
    throw reader.error(field, `nested ${depth} deep`, `at most ${maxNesting}`);
  }
  const type = reader.u32(`${field}: array element type`);
  // The smallest element of each type bounds the count by the bytes that are left, before anything is allocated.
  const smallest = type === T.bool
    ? 1
    : type === T.string
    ? 8
    : type === T.array
    ? 12
    : numericBytes[type];
  if (smallest === undefined) {
    throw reader.error(`${field}: array element type`, `${type}`, "0 to 12");
  }
  const count = reader.count(`${field}: array length`, Number.MAX_SAFE_INTEGER);
  if (count > Math.floor(reader.remaining / smallest)) {
    throw reader.error(
      `${field}: array length`,
      `${count}`,
      `at most ${Math.floor(reader.remaining / smallest)} in the ${reader.remaining} bytes left`,
    );
  }
  if (type === T.string) return readEach(count, () => readString(reader, field));
  if (type === T.bool) return readEach(count, () => readBool(reader, field));
  if (type === T.array) return readEach(count, () => readArray(reader, field, depth + 1));
  return new numeric[type](
    reader.bytes(count * numericBytes[type], field).slice().buffer as ArrayBuffer,
  );
}

function readEach<V>(count: number, read: () => V): V[] {
  const values: V[] = [];
  for (let i = 0; i < count; i++) values.push(read());
  return values;
}

function readValue(reader: ByteReader, key: string): GgufValue {
  const type = reader.u32(`${key}: value type`);
  switch (type) {
    case T.uint8:
      return reader.u8(key);
    case T.int8:
      return reader.i8(key);
    case T.uint16:
      return reader.u16(key);
    case T.int16:
      return reader.i16(key);
    case T.uint32:
      return reader.u32(key);
    case T.int32:
      return reader.i32(key);
    case T.float32:
      return reader.f32(key);
    case T.uint64:
      return exact(reader.u64(key));
    case T.int64:
      return exact(reader.i64(key));
    case T.float64:
      return reader.f64(key);
    case T.bool:
      return readBool(reader, key);
    case T.string:
      return readString(reader, key);
    case T.array:
      return readArray(reader, key, 1);
    default:
      throw reader.error(`${key}: value type`, `${type}`, "0 to 12");
  }
}

/** The `count` key-value pairs at the reader's position. */
export function readMetadata(reader: ByteReader, count: number): Map<string, GgufValue> {
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = readString(reader, `metadata key ${i}`, maxKeyBytes);
    if (values.has(key)) throw reader.error(`metadata key ${key}`, "there twice", "once");
    values.set(key, readValue(reader, key));
  }
  return values;
}
