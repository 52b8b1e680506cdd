/**
 * NumPy's `.npy` array files (format versions 1.0 to 3.0, NEP 1): C order, little-endian.
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";

/** Element types that this project exchanges with NumPy, by NumPy's name. `float16` is carried as raw bits. */
export interface NpyArrays {
  float16: Uint16Array<ArrayBuffer>;
  float32: Float32Array<ArrayBuffer>;
  float64: Float64Array<ArrayBuffer>;
  int8: Int8Array<ArrayBuffer>;
  uint8: Uint8Array<ArrayBuffer>;
  uint16: Uint16Array<ArrayBuffer>;
  int32: Int32Array<ArrayBuffer>;
  uint32: Uint32Array<ArrayBuffer>;
  int64: BigInt64Array<ArrayBuffer>;
}

/** NumPy's name of an element type. */
export type NpyType = keyof NpyArrays;

/** One array: `data.length` is the product of `shape`, last dimension fastest. */
export type NpyArray = {
  [T in NpyType]: { type: T; shape: number[]; data: NpyArrays[T] };
}[NpyType];

type Constructor = new (buffer: ArrayBuffer) => NpyArray["data"];
const types: { type: NpyType; descr: string; bytes: number; make: Constructor }[] = [
  { type: "float16", descr: "<f2", bytes: 2, make: Uint16Array },
  { type: "float32", descr: "<f4", bytes: 4, make: Float32Array },
  { type: "float64", descr: "<f8", bytes: 8, make: Float64Array },
  { type: "int8", descr: "|i1", bytes: 1, make: Int8Array },
  { type: "uint8", descr: "|u1", bytes: 1, make: Uint8Array },
  { type: "uint16", descr: "<u2", bytes: 2, make: Uint16Array },
  { type: "int32", descr: "<i4", bytes: 4, make: Int32Array },
  { type: "uint32", descr: "<u4", bytes: 4, make: Uint32Array },
  { type: "int64", descr: "<i8", bytes: 8, make: BigInt64Array },
];

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"
const maxHeaderBytes = 65536;
const maxDimensions = 32; // NumPy's own limit before 2.0

/**
 * Reads one array from the bytes of a `.npy` file. `name` stands for the file in errors.
 * Throws `ModelFormatError` for a damaged file, Fortran order, big-endian data or an element type outside `NpyType`.
 */
export function parseNpy(bytes: Uint8Array, name = "npy"): NpyArray {
  const bad = (field: string, met: string, expected: string) =>
    new ModelFormatError(`${name}: ${field} is ${met}, expected ${expected}`);

  if (bytes.length < 10) {
    throw bad("file", `${bytes.length} bytes long`, "a .npy header of 10 bytes or more");
  }
  for (let i = 0; i < magic.length; i++) {
    if (bytes[i] !== magic[i]) throw bad(`magic byte ${i}`, `${bytes[i]}`, `${magic[i]}`);
  }
  const major = bytes[6];
  if (major < 1 || major > 3) {
    throw bad("format version", `${major}.${bytes[7]}`, "1.0, 2.0 or 3.0");
  }

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerStart = major === 1 ? 10 : 12;
  if (bytes.length < headerStart) {
    throw bad("file", `${bytes.length} bytes long`, "a header length");
  }
  const headerBytes = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerBytes > maxHeaderBytes) {
    throw bad("header length", `${headerBytes}`, `at most ${maxHeaderBytes}`);
  }
  const dataStart = headerStart + headerBytes;
  if (dataStart > bytes.length) {
    throw bad(
      "header length",
      `${headerBytes}`,
      `at most the ${bytes.length - headerStart} bytes left`,
    );
  }

  const header = new TextDecoder().decode(bytes.subarray(headerStart, dataStart));
  const { descr, fortranOrder, shape } = parseHeader(header, bad);
  const found = types.find((t) =>
    t.descr === descr || (t.bytes === 1 && t.descr.slice(1) === descr.slice(1))
  );
  if (!found) throw bad("descr", `'${descr}'`, types.map((t) => t.descr).join(", "));
  if (fortranOrder && shape.filter((n) => n > 1).length > 1) {
    throw bad("fortran_order", "True", "False: save a C-ordered copy (numpy.ascontiguousarray)");
  }

  let count = 1;
  for (const n of shape) count *= n;
  const need = count * found.bytes;
  if (need !== bytes.length - dataStart) {
    throw bad(
      "data",
      `${bytes.length - dataStart} bytes long`,
      `${need} for shape (${shape.join(", ")}) of ${found.type}`,
    );
  }
  // A copy: the data need not be aligned in `bytes`, and the result must not keep the file's buffer alive.
  const data = new found.make(bytes.slice(dataStart).buffer);
  return { type: found.type, shape, data } as NpyArray;
}

/** Picks the three fields out of the header, a Python dictionary literal that NumPy writes in one fixed form. */
function parseHeader(
  header: string,
  bad: (field: string, met: string, expected: string) => ModelFormatError,
): { descr: string; fortranOrder: boolean; shape: number[] } {
  const shown = JSON.stringify(header.slice(0, 120));
  const descr = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(header)?.[1];
  if (descr === undefined) {
    throw bad("header", shown, "a plain 'descr' (structured arrays are not supported)");
  }
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(header)?.[1];
  if (order === undefined) throw bad("header", shown, "'fortran_order': True or False");
  const inner = /['"]shape['"]\s*:\s*\(([0-9,\sL]*)\)/.exec(header)?.[1];
  if (inner === undefined) throw bad("header", shown, "a 'shape' tuple of non-negative integers");
  const parts = inner.split(",").map((s) => s.trim()).filter((s) => s !== "");
  if (parts.length > maxDimensions) {
    throw bad("shape", `${parts.length} dimensions`, `at most ${maxDimensions}`);
  }
  const shape = parts.map((s) => {
    const n = /^\d+L?$/.test(s) ? parseInt(s, 10) : NaN;
    if (!Number.isSafeInteger(n)) throw bad("shape entry", s, "a non-negative integer");
    return n;
  });
  return { descr, fortranOrder: order === "True", shape };
}

/**
 * The bytes of a `.npy` file (version 1.0, C order) holding `array`.
 * Throws `RangeError` when the shape's product is not the number of elements.
 */
export function encodeNpy(array: NpyArray): Uint8Array<ArrayBuffer> {
  const count = array.shape.reduce((a, n) => a * n, 1);
  if (count !== array.data.length) {
    throw new RangeError(
      `npy: shape (${array.shape.join(", ")}) has ${count} elements, data has ${array.data.length}`,
    );
  }
  const { descr } = types.find((t) => t.type === array.type)!;
  const tuple = array.shape.length === 1 ? `(${array.shape[0]},)` : `(${array.shape.join(", ")})`;
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // The data starts at a multiple of 64 so that it can be mapped (NEP 1); the pad is spaces before a newline.
  const total = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = text.padEnd(total - 10 - 1) + "\n";

  const bytes = new Uint8Array(total + array.data.byteLength);
  bytes.set(magic);
  bytes.set([1, 0, header.length & 255, header.length >> 8], 6);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(array.data.buffer, array.data.byteOffset, array.data.byteLength), total);
  return bytes;
}

/** Reads the `.npy` file at `path`. */
export function readNpy(path: string): NpyArray {
  return parseNpy(Deno.readFileSync(path), path);
}

/** Writes `array` to `path`. */
export function writeNpy(path: string, array: NpyArray): void {
  Deno.writeFileSync(path, encodeNpy(array));
}
