import { assertEquals, assertThrows } from "@std/assert";
import { UniformStruct } from "../../src/gpu/uniform.ts";

const source = `
// struct Other { nothing: f16 }
struct Params {
  rows: u32,      // how many, and more
  shift: i32,
  scale: f32,
  a: u32,
  last: u32
}`;

Deno.test("UniformStruct packs scalars at the offsets of the WGSL struct", () => {
  const struct = new UniformStruct(source, "Params");
  assertEquals(struct.byteLength, 32);
  const bytes = struct.pack({ last: 2 ** 32 - 1, rows: 3, shift: -(2 ** 31), scale: 0.5, a: 0 });
  const view = new DataView(bytes.buffer);
  assertEquals(view.getUint32(0, true), 3);
  assertEquals(view.getInt32(4, true), -(2 ** 31));
  assertEquals(view.getFloat32(8, true), 0.5);
  assertEquals(view.getUint32(16, true), 2 ** 32 - 1);
  assertEquals(bytes.slice(20), new Uint8Array(12));
});

Deno.test("UniformStruct refuses missing and unknown fields, and values that do not fit", () => {
  const struct = new UniformStruct(source, "Params");
  const good = { rows: 1, shift: 0, scale: NaN, a: 1, last: 1 };
  struct.pack(good);
  const { a: _, ...without } = good;
  assertThrows(() => struct.pack(without), TypeError, "field a is missing");
  assertThrows(
    () => struct.pack({ ...good, row: 1 }),
    TypeError,
    "no field row, it has rows, shift, scale, a, last",
  );
  for (const rows of [-1, 2 ** 32, 1.5, NaN]) {
    assertThrows(
      () => struct.pack({ ...good, rows }),
      RangeError,
      `rows is ${rows}, expected a u32`,
    );
  }
  assertThrows(() => struct.pack({ ...good, shift: 2 ** 31 }), RangeError, "expected a i32");
});

Deno.test("UniformStruct refuses a struct that is not there or holds more than scalars", () => {
  assertThrows(() => new UniformStruct(source, "Param"), SyntaxError, "Param: not found");
  assertThrows(
    () => new UniformStruct("struct P { a: u32, size: vec2<u32> }", "P"),
    SyntaxError,
    'read uniform struct P: field "size: vec2<u32>" is not a u32, i32 or f32',
  );
});
