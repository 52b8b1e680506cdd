import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { ByteReader } from "../../src/formats/byte_reader.ts";
import { FileSource, MemorySource } from "../../src/formats/file_source.ts";

Deno.test("ByteReader reads little-endian numbers of every width", () => {
  const view = new DataView(new ArrayBuffer(42));
  view.setUint8(0, 200);
  view.setInt8(1, -3);
  view.setUint16(2, 60000, true);
  view.setInt16(4, -300, true);
  view.setUint32(6, 4e9, true);
  view.setInt32(10, -5, true);
  view.setFloat32(14, 1.5, true);
  view.setFloat64(18, Math.PI, true);
  view.setBigUint64(26, 2n ** 64n - 1n, true);
  view.setBigInt64(34, -(2n ** 63n), true);
  const r = new ByteReader(new Uint8Array(view.buffer));
  assertEquals([r.u8("a"), r.i8("b"), r.u16("c"), r.i16("d"), r.u32("e"), r.i32("f")], [
    200,
    -3,
    60000,
    -300,
    4e9,
    -5,
  ]);
  assertEquals([r.f32("g"), r.f64("h"), r.u64("i"), r.i64("j")], [
    1.5,
    Math.PI,
    2n ** 64n - 1n,
    -(2n ** 63n),
  ]);
  assertEquals([r.offset, r.remaining], [42, 0]);
});

Deno.test("ByteReader names file, field, offset and lengths where the data ends early", () => {
  const r = new ByteReader(new MemorySource(new Uint8Array(6), "model.bin"));
  r.u32("first");
  assertThrows(
    () => r.u32("tensor count"),
    ModelFormatError,
    "model.bin: tensor count needs 4 bytes at offset 4, the data ends after 2",
  );
  assertThrows(() => r.bytes(2 ** 53, "name"), ModelFormatError, "name needs");
  assertEquals(r.u16("rest"), 0);
});

Deno.test("ByteReader checks counts and UTF-8", () => {
  const r = new ByteReader(new Uint8Array([255, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0xa9, 0xc3, 0x28]));
  assertThrows(() => r.count("keys", 254), ModelFormatError, "keys is 255, expected at most 254");
  assertEquals(r.utf8(2, "key"), "é");
  assertThrows(
    () => r.utf8(2, "key"),
    ModelFormatError,
    "key is not UTF-8 at offset 10, expected UTF-8 text",
  );
});

Deno.test("ByteReader reads the same across window refills", () => {
  const bytes = Uint8Array.from({ length: 700_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
  fc.assert(
    fc.property(fc.array(fc.nat(200_000), { maxLength: 8 }), (lengths) => {
      const r = new ByteReader(bytes);
      for (const length of lengths) {
        if (length > r.remaining) break;
        const at = r.offset;
        assertEquals(r.bytes(length, "part"), bytes.subarray(at, at + length));
      }
    }),
    { numRuns: 20 },
  );
});

Deno.test("FileSource reads any range, refuses others, and closes its file", () => {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, Uint8Array.of(1, 2, 3, 4, 5));
    using source = FileSource.open(path);
    const into = new Uint8Array(3);
    source.read(2, into);
    assertEquals([...into], [3, 4, 5]);
    source.read(0, into);
    assertEquals([...into], [1, 2, 3]);
    for (const offset of [3, -1, 0.5, NaN, 2 ** 60]) {
      assertThrows(() => source.read(offset, into), ModelFormatError, `${path}: bytes [${offset}`);
    }
    Deno.truncateSync(path, 2);
    assertThrows(
      () => source.read(1, into),
      ModelFormatError,
      "the file ended at byte 2, it had 5 when opened",
    );
  } finally {
    Deno.removeSync(path);
  }
  assertThrows(() => FileSource.open(path), Deno.errors.NotFound);
  assertThrows(() => FileSource.open("/"), Error);
});
