import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { MemorySource } from "../../src/formats/file_source.ts";
import { SafetensorsFile } from "../../src/formats/safetensors.ts";

function file(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const length = new Uint8Array(BigUint64Array.of(BigInt(json.length)).buffer);
  return Uint8Array.from([...length, ...json, ...data]);
}

const data = new Uint8Array([
  ...new Uint8Array(Float32Array.of(1, -2).buffer),
  ...new Uint8Array(Uint16Array.of(0x3c00, 0xc000).buffer),
  ...new Uint8Array(Uint16Array.of(0x3fc0).buffer),
  9,
]);
const good = file({
  __metadata__: { format: "pt" },
  b: { dtype: "F16", shape: [2, 1], data_offsets: [8, 12] },
  a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
  empty: { dtype: "F32", shape: [0, 5], data_offsets: [8, 8] },
  c: { dtype: "BF16", shape: [], data_offsets: [12, 14] },
  d: { dtype: "U8", shape: [1], data_offsets: [14, 15] },
}, data);

Deno.test("SafetensorsFile reads the table, the metadata and floats of three types", () => {
  using f = SafetensorsFile.read(good);
  assertEquals(f.metadata, { format: "pt" });
  assertEquals([...f.tensors.keys()], ["b", "a", "empty", "c", "d"]);
  assertEquals(f.readFloats(f.tensor("a")), Float32Array.of(1, -2));
  assertEquals(f.readFloats(f.tensor("b")), Float32Array.of(1, -2));
  assertEquals(f.readFloats(f.tensor("c")), Float32Array.of(1.5));
  assertEquals(f.readFloats(f.tensor("empty")), new Float32Array());
  assertEquals([...f.readTensor(f.tensor("d"))], [9]);
  assertEquals(f.tensor("b").shape, [2, 1]);
  assertThrows(
    () => f.readFloats(f.tensor("d")),
    ModelFormatError,
    "d: element type is U8, expected F32, F16 or BF16",
  );
  assertThrows(() => f.tensor("z"), ModelFormatError, "tensor z is absent");
});

Deno.test("SafetensorsFile says what is wrong and what was expected", () => {
  const one = (entry: unknown, size = 4) => file({ t: entry }, new Uint8Array(size));
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(4), "m.st: header length needs 8 bytes"],
    [
      Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 127]),
      "header length is 9223372036854775807, expected at most 0",
    ],
    [file("{"), "header is not JSON"],
    [file("[]"), "header is another JSON value, expected a JSON object"],
    [
      file({ __metadata__: { a: 1 } }),
      "__metadata__ is of another shape, expected an object of strings",
    ],
    [one(5), "t: entry is number, expected an object"],
    [one({ dtype: "F31", shape: [1], data_offsets: [0, 4] }), 't: dtype is "F31", expected BOOL'],
    [one({ dtype: "toString", shape: [1], data_offsets: [0, 4] }), 't: dtype is "toString"'],
    [
      one({ dtype: "F32", shape: [-1], data_offsets: [0, 4] }),
      "t: shape is [-1], expected up to 16",
    ],
    [one({ dtype: "F32", shape: [1.5], data_offsets: [0, 4] }), "t: shape is [1.5]"],
    [
      one({ dtype: "F32", shape: [1], data_offsets: [0] }),
      "t: data_offsets is [0], expected [begin, end]",
    ],
    [
      one({ dtype: "F32", shape: [2], data_offsets: [0, 4] }),
      "expected 8 bytes for F32 of shape [2]",
    ],
    [one({ dtype: "F32", shape: [1], data_offsets: [4, 8] }, 8), "t: data is at byte"],
    [one({ dtype: "F32", shape: [1], data_offsets: [0, 4] }, 5), "by its tensors"],
    [one({ dtype: "F32", shape: [1], data_offsets: [0, 4] }, 3), "by its tensors"],
    [
      file({
        t: { dtype: "U8", shape: [3], data_offsets: [0, 3] },
        u: { dtype: "U8", shape: [2], data_offsets: [2, 4] },
      }, new Uint8Array(4)),
      "u: data is at byte",
    ],
  ];
  for (const [bytes, message] of cases) {
    assertThrows(
      () => SafetensorsFile.read(new MemorySource(bytes, "m.st")),
      ModelFormatError,
      message,
    );
  }
});

Deno.test("SafetensorsFile of damaged files reads or throws ModelFormatError, nothing else", () => {
  const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(edits, fc.nat(good.length), (list, length) => {
      const bad = good.slice(0, length);
      for (const [at, value] of list) if (at < length) bad[at] = value;
      try {
        using f = SafetensorsFile.read(bad);
        for (const tensor of f.tensors.values()) f.readTensor(tensor);
      } catch (error) {
        if (!(error instanceof ModelFormatError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("SafetensorsFile.open reads from disk and closes a bad file", () => {
  const path = Deno.makeTempFileSync({ suffix: ".safetensors" });
  try {
    Deno.writeFileSync(path, good);
    using f = SafetensorsFile.open(path);
    assertEquals(f.readFloats(f.tensor("a")), Float32Array.of(1, -2));
    Deno.writeFileSync(path, good.subarray(0, 20));
    assertThrows(() => SafetensorsFile.open(path), ModelFormatError, path);
  } finally {
    Deno.removeSync(path);
  }
});
