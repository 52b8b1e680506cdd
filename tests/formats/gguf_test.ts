import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { MemorySource } from "../../src/formats/file_source.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf, type GgufInput } from "../../src/formats/gguf_writer.ts";

const everyType: Record<string, GgufInput> = {
  "a.u8": { type: "uint8", value: 255 },
  "a.i8": { type: "int8", value: -128 },
  "a.u16": { type: "uint16", value: 65535 },
  "a.i16": { type: "int16", value: -32768 },
  "a.u32": { type: "uint32", value: 4294967295 },
  "a.i32": { type: "int32", value: -2147483648 },
  "a.f32": { type: "float32", value: 0.5 },
  "a.f64": { type: "float64", value: Math.PI },
  "a.u64": { type: "uint64", value: 2n ** 64n - 1n },
  "a.i64": { type: "int64", value: -(2n ** 53n) + 1n },
  "a.bool": true,
  "a.string": "grüße 🐦 \u0000 end, longer than sixteen bytes",
  "a.bytes": Uint8Array.of(1, 2, 3),
  "a.shorts": Int16Array.of(-1, 2),
  "a.floats": Float32Array.of(1.5, -2),
  "a.doubles": Float64Array.of(1e300),
  "a.longs": BigInt64Array.of(-5n, 2n ** 62n),
  "a.strings": ["", "a", "ééé"],
  "a.bools": [true, false, true],
  "a.nested": [[Uint8Array.of(1), Uint8Array.of()], [["x"], ["y", "z"]]],
};

const weights = Float32Array.from({ length: 96 }, (_, i) => (i - 48) / 7);
const small = () =>
  encodeGguf({
    metadata: { "general.architecture": "llama", ...everyType },
    tensors: [
      { name: "w.f32", shape: [3], type: "F32", values: weights.slice(0, 3) },
      { name: "w.f16", shape: [4, 2, 3], type: "F16", values: weights.slice(0, 24) },
      { name: "w.q8", shape: [32, 3], type: "Q8_0", values: weights },
      { name: "w.raw", shape: [32], type: "Q8_1", bytes: new Uint8Array(36).fill(7) },
    ],
  });

Deno.test("GgufFile reads back every metadata type that encodeGguf writes", () => {
  using file = GgufFile.read(small());
  assertEquals(file.version, 3);
  for (const [key, value] of Object.entries(everyType)) {
    const plain = typeof value === "object" && "type" in value ? value.value : value;
    const expected = typeof plain === "bigint" && Number.isSafeInteger(Number(plain))
      ? Number(plain)
      : plain;
    assertEquals(file.metadata.get(key), expected as never, key);
  }
  assertEquals([...file.metadata].length, 1 + Object.keys(everyType).length);
});

Deno.test("GgufFile gives tensors with shape, type and data, aligned in the file", () => {
  using file = GgufFile.read(small());
  assertEquals([...file.tensors.keys()], ["w.f32", "w.f16", "w.q8", "w.raw"]);
  for (const tensor of file.tensors.values()) assertEquals(tensor.offset % 32, 0);
  assertEquals(file.tensor("w.f16").shape, [4, 2, 3]);
  assertEquals(file.readFloats(file.tensor("w.f32")), weights.slice(0, 3));
  const close = file.readFloats(file.tensor("w.q8"));
  assertEquals(close.every((v, i) => Math.abs(v - weights[i]) < 0.04), true);
  assertEquals(file.readTensor(file.tensor("w.raw")), new Uint8Array(36).fill(7));
  assertThrows(
    () => file.readFloats(file.tensor("w.raw")),
    ModelFormatError,
    "w.raw: element type is Q8_1",
  );
  assertThrows(() => file.tensor("w.none"), ModelFormatError, "tensor w.none is absent");
});

Deno.test("GgufFile.readTensor reads part of a tensor into a given buffer and refuses other ranges", () => {
  using file = GgufFile.read(small());
  const tensor = file.tensor("w.f32");
  const into = new Uint8Array(4);
  assertEquals(file.readTensor(tensor, { start: 4, length: 4, into }), into);
  assertEquals(new Float32Array(into.buffer)[0], weights[1]);
  for (const [start, length] of [[0, 13], [12, 1], [-1, 2], [0, -1]]) {
    assertThrows(
      () => file.readTensor(tensor, { start, length, into: new Uint8Array(Math.max(length, 0)) }),
      RangeError,
    );
  }
  assertThrows(() => file.readTensor(tensor, { into }), RangeError, "a buffer of its length");
});

Deno.test("GgufMetadata getters check type and range and fall back where told", () => {
  using file = GgufFile.read(new MemorySource(small(), "m.gguf"));
  const m = file.metadata;
  assertEquals([m.number("a.f32"), m.number("none", 4), m.string("none", "x")], [0.5, 4, "x"]);
  assertThrows(() => m.string("a.u8"), ModelFormatError, "m.gguf: a.u8 is 255, expected a string");
  assertThrows(
    () => m.number("none"),
    ModelFormatError,
    "m.gguf: none is absent, expected a finite number",
  );
  assertThrows(
    () => m.integer("a.u8", 0, 9),
    ModelFormatError,
    "a.u8 is 255, expected an integer in [0, 9]",
  );
  assertThrows(() => m.integer("a.f32", 0, 9), ModelFormatError, "a.f32 is 0.5");
  assertThrows(
    () => m.strings("a.bools"),
    ModelFormatError,
    "a.bools is an array of 3, expected an array of strings",
  );
  assertThrows(() => m.numbers("a.longs"), ModelFormatError, "a.longs is an array of 2");
  assertThrows(() => m.boolean("a.string"), ModelFormatError, 'a.string is "grüße');
});

/** A GGUF file put together by hand: words are u32, bigints u64, strings with their length, arrays raw bytes. */
function raw(...parts: (number | bigint | string | Uint8Array)[]): Uint8Array {
  const bytes: number[] = [];
  for (const part of parts) {
    if (typeof part === "number") bytes.push(...new Uint8Array(Uint32Array.of(part).buffer));
    else if (typeof part === "bigint") {
      bytes.push(...new Uint8Array(BigUint64Array.of(part).buffer));
    } else if (typeof part === "string") {
      bytes.push(...raw(BigInt(part.length)), ...new TextEncoder().encode(part));
    } else bytes.push(...part);
  }
  return Uint8Array.from(bytes);
}

Deno.test("GgufFile says what is wrong with a header and what was expected", () => {
  const magic = new TextEncoder().encode("GGUF");
  const head = (tensors: bigint, keys: bigint) => raw(magic, 3, tensors, keys);
  const tensor = (name: string, dims: bigint[], type: number, offset: bigint) =>
    raw(name, dims.length, ...dims, type, offset);
  const pad = new Uint8Array(200);
  const huge = 2n ** 63n;
  const nested = (depth: number): Uint8Array =>
    depth === 0 ? raw(0, 0n) : raw(9, 1n, nested(depth - 1));
  const cases: [Uint8Array, string][] = [
    [raw(), "m.gguf: magic needs 4 bytes at offset 0, the data ends after 0"],
    [raw(new TextEncoder().encode("GGML"), 3, 0n, 0n), 'magic is "GGML", expected "GGUF"'],
    [raw(magic, 1, 0n, 0n), "version is 1, expected 2 or 3"],
    [raw(magic, 0x03000000, 0n, 0n), "byte order is big-endian, expected little-endian"],
    [head(huge, 0n), "tensor count is 9223372036854775808, expected at most 65536"],
    [head(0n, huge), "metadata key count is 9223372036854775808, expected at most 65536"],
    [
      raw(head(0n, 1n), 2n ** 40n),
      "metadata key 0: length is 1099511627776, expected at most 65535",
    ],
    [raw(head(0n, 1n), 60n), "metadata key 0 needs 60 bytes at offset 32, the data ends after 0"],
    [raw(head(0n, 1n), "k", 13), "k: value type is 13, expected 0 to 12"],
    [raw(head(0n, 1n), "k", 7, Uint8Array.of(2)), "k is 2, expected 0 or 1"],
    [raw(head(0n, 2n), "k", 4, 1, "k", 4, 1), "metadata key k is there twice, expected once"],
    [raw(head(0n, 1n), "k", 8, huge), "k: length is 9223372036854775808"],
    [raw(head(0n, 1n), "k", 9, 8, 2n ** 33n), "k: array length is 8589934592, expected at most 0"],
    [raw(head(0n, 1n), "k", 9, 99, 1n), "k: array element type is 99, expected 0 to 12"],
    [raw(head(0n, 1n), "k", 9, nested(5)), "k is nested 5 deep, expected at most 4"],
    [raw(head(0n, 1n), 1n, Uint8Array.of(255)), "metadata key 0 is not UTF-8"],
    [raw(head(1n, 0n), tensor("t", [], 0, 0n)), "t: dimension count is 0, expected 1 to 4"],
    [raw(head(1n, 0n), "t", 4e9), "t: dimension count is 4000000000"],
    [raw(head(1n, 0n), tensor("t", [0n], 0, 0n)), "t: dimension 0 is 0"],
    [
      raw(head(1n, 0n), tensor("t", [2n ** 40n, 2n ** 40n], 0, 0n)),
      "t: dimension 1 is 1099511627776",
    ],
    [
      raw(head(1n, 0n), tensor("t", [1n], 77, 0n)),
      "t: element type is 77, expected a known GGML type number",
    ],
    [
      raw(head(1n, 0n), tensor("t", [33n], 8, 0n)),
      "t: dimension 0 is 33, expected a multiple of 32 for Q8_0",
    ],
    [raw(head(1n, 0n), tensor("t", [1n], 0, 4n), pad), "t: offset is 4, expected a multiple of 32"],
    [
      raw(head(1n, 0n), tensor("t", [100n], 0, 0n), pad),
      "t: data is at bytes [64, 464), expected inside the file",
    ],
    [
      raw(head(2n, 0n), tensor("t", [9n], 0, 0n), tensor("u", [1n], 0, 32n), pad),
      "u: data is at byte 128, expected after the end of t",
    ],
    [
      raw(head(2n, 0n), tensor("t", [1n], 0, 0n), tensor("t", [1n], 0, 32n), pad),
      "tensor t is there twice",
    ],
    [
      raw(head(1n, 1n), "general.alignment", 4, 24, tensor("t", [1n], 0, 0n), pad),
      "general.alignment is 24",
    ],
    [raw(head(1n, 0n), "n".repeat(513)), "name of tensor 0: length is 513, expected at most 512"],
  ];
  for (const [bytes, message] of cases) {
    assertThrows(() => GgufFile.read(new MemorySource(bytes, "m.gguf")), ModelFormatError, message);
  }
});

Deno.test("GgufFile of damaged files reads or throws ModelFormatError, nothing else, and allocates within the file", () => {
  const good = small();
  const edits = fc.array(
    fc.tuple(fc.nat(good.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 128, 255))),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(edits, fc.oneof(fc.constant(good.length), fc.nat(good.length)), (list, length) => {
      const bad = good.slice(0, length);
      for (const [at, value] of list) if (at < length) bad[at] = value;
      try {
        using file = GgufFile.read(bad);
        for (const tensor of file.tensors.values()) {
          assertEquals(file.readTensor(tensor).length, tensor.byteLength);
          assertEquals(tensor.offset + tensor.byteLength <= length, true);
        }
      } catch (error) {
        if (!(error instanceof ModelFormatError)) throw error;
      }
    }),
    { numRuns: 5000 },
  );
});

Deno.test("GgufFile of any bytes after the magic reads or throws ModelFormatError", () => {
  const prefix = encodeGguf({ metadata: {} }).subarray(0, 8);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
      const bytes = new Uint8Array([...prefix, ...tail]);
      try {
        GgufFile.read(bytes)[Symbol.dispose]();
      } catch (error) {
        if (!(error instanceof ModelFormatError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("GgufFile.open closes the file when the header is bad", () => {
  const path = Deno.makeTempFileSync({ suffix: ".gguf" });
  try {
    Deno.writeTextFileSync(path, "GGUF but not really");
    assertThrows(() => GgufFile.open(path), ModelFormatError, path);
    Deno.writeFileSync(path, small());
    using file = GgufFile.open(path);
    assertEquals(file.readFloats(file.tensor("w.f32")), weights.slice(0, 3));
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("encodeGguf refuses data that does not have the tensor's shape", () => {
  const tensor = (shape: number[], type: "F32" | "Q8_0") => ({
    metadata: {},
    tensors: [{ name: "t", shape, type, values: new Float32Array(32) }],
  });
  assertThrows(
    () => encodeGguf(tensor([31], "F32")),
    RangeError,
    "t: 128 bytes of F32, expected shape [31]",
  );
  assertThrows(() => encodeGguf(tensor([16, 2], "Q8_0")), RangeError, "rows have 16 elements");
});
