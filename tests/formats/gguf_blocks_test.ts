import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import { bf16ToNumber, f16ToNumber, numberToF16 } from "../../src/formats/f16.ts";
import { byteLength, dequantize, ggmlTypeByName, quantize } from "../../src/formats/gguf_blocks.ts";

Deno.test("f16ToNumber gives the value of all 65,536 bit patterns", () => {
  const view = new DataView(new ArrayBuffer(2));
  for (let bits = 0; bits < 65536; bits++) {
    view.setUint16(0, bits);
    assertEquals(f16ToNumber(bits), view.getFloat16(0));
    if (!Number.isNaN(f16ToNumber(bits))) assertEquals(numberToF16(f16ToNumber(bits)), bits);
  }
});

Deno.test("bf16ToNumber keeps the upper half of an f32", () => {
  assertEquals([0x3f80, 0xc000, 0x7f80, 0x0000].map(bf16ToNumber), [1, -2, Infinity, 0]);
});

Deno.test("byteLength counts blocks and refuses parts of one", () => {
  assertEquals(byteLength(ggmlTypeByName("F32"), 5), 20);
  assertEquals(byteLength(ggmlTypeByName("Q8_0"), 64), 68);
  assertEquals(byteLength(ggmlTypeByName("Q4_K"), 512), 288);
  assertThrows(
    () => byteLength(ggmlTypeByName("Q8_0"), 33),
    RangeError,
    "expected a multiple of 32",
  );
});

Deno.test("dequantize reads F32, F16, BF16 and Q8_0", () => {
  const bytes = (...words: number[]) => new Uint8Array(Uint16Array.from(words).buffer);
  assertEquals(dequantize(ggmlTypeByName("F16"), bytes(0x3c00, 0xc000), 2), Float32Array.of(1, -2));
  assertEquals(
    dequantize(ggmlTypeByName("BF16"), bytes(0x3fc0, 0xbf80), 2),
    Float32Array.of(1.5, -1),
  );
  assertEquals(
    dequantize(ggmlTypeByName("F32"), new Uint8Array(Float32Array.of(7).buffer), 1),
    Float32Array.of(7),
  );
  // Scale 0.5 (0x3800), then -128 to 127 in steps.
  const block = new Uint8Array(34);
  block.set([0x00, 0x38, 0x80, 0x7f, 1]);
  assertEquals([...dequantize(ggmlTypeByName("Q8_0"), block, 32).subarray(0, 4)], [
    -64,
    63.5,
    0.5,
    0,
  ]);
});

Deno.test("dequantize names a type it cannot compute with", () => {
  assertThrows(
    () => dequantize(ggmlTypeByName("IQ2_S"), new Uint8Array(82), 256, "m.gguf: output.weight"),
    ModelFormatError,
    "m.gguf: output.weight: element type is IQ2_S, expected one of F32, F16, BF16, Q4_0,",
  );
  assertThrows(
    () => dequantize(ggmlTypeByName("F32"), new Uint8Array(7), 2),
    RangeError,
    "7 bytes for 2 elements",
  );
});

Deno.test("quantize to Q8_0 is within half a step, and zero for zeros", () => {
  const type = ggmlTypeByName("Q8_0");
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1e6 }),
      fc.double({ min: 0.1, max: 1e3, noNaN: true }),
      (seed, scale) => {
        const values = new Rng(seed).normals(96, scale);
        const back = dequantize(type, quantize("Q8_0", values), 96);
        for (let block = 0; block < 96; block += 32) {
          const largest = Math.max(...values.subarray(block, block + 32).map(Math.abs));
          // Half a step, and the rounding of the scale to f16 (2^-11 of up to 127 steps).
          for (let i = block; i < block + 32; i++) {
            assertAlmostEquals(
              back[i],
              values[i],
              largest * (0.5 / 127 + 2 ** -11) * 1.001,
            );
          }
        }
      },
    ),
  );
  assertEquals(dequantize(type, quantize("Q8_0", new Float32Array(32)), 32), new Float32Array(32));
});

Deno.test("quantize to Q8_0 gives GGML's own bytes", () => {
  // gguf-py 0.19.0: quantize(0.37 * (i - 11.5) for i in 0..31, Q8_0).
  const values = Float32Array.from({ length: 32 }, (_, i) => Math.fround(0.37 * (i - 11.5)));
  const expected = [
    70,
    43,
    181,
    188,
    194,
    201,
    207,
    214,
    220,
    227,
    233,
    240,
    246,
    253,
    3,
    10,
    16,
    23,
    29,
    36,
    42,
    49,
    55,
    62,
    68,
    75,
    81,
    88,
    94,
    101,
    107,
    114,
    120,
    127,
  ];
  assertEquals([...quantize("Q8_0", values)], expected);
});

Deno.test("quantize to F32 and F16 round-trips what they can hold", () => {
  const values = Float32Array.of(0, -1.5, 65504, 2 ** -24, Infinity);
  for (const name of ["F32", "F16"] as const) {
    assertEquals(dequantize(ggmlTypeByName(name), quantize(name, values), 5), values);
  }
});
