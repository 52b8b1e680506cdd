import { assert, assertEquals, assertThrows } from "@std/assert";
import { DenseMatrix } from "../../ffi/dense_matrix.ts";
import { loadNative } from "../../ffi/load.ts";
import { needsNative } from "../support/needs_native.ts";

/** A matrix whose outputs are sums of 32 neighbours: weights of 1, scaled by the output's number. */
function counting(outputs: number, columns: number): DenseMatrix {
  const matrix = DenseMatrix.open("q8", outputs, columns);
  const blocks = columns / 32;
  for (let output = 0; output < outputs; output++) {
    const codes = new Uint8Array(columns).fill(1);
    matrix.fill(output, codes, new Float16Array(blocks).fill(output / 8));
  }
  return matrix;
}

Deno.test("DenseMatrix multiplies rows", (t) => {
  if (!needsNative(t)) return;
  using matrix = counting(64, 32);
  const rows = Float32Array.from({ length: 3 * 32 }, (_, i) => i < 64 ? 1 : -0.5);
  const out = new Float32Array(3 * 64);
  matrix.multiply(rows, out);
  for (let row = 0; row < 3; row++) {
    for (let output = 0; output < 64; output++) {
      const found = out[row * 64 + output];
      const expected = (row < 2 ? 32 : -16) * output / 8;
      assert(
        Math.abs(found - expected) <= 1e-4 * Math.abs(expected),
        `${row} ${output}: ${found}, expected ${expected}`,
      );
    }
  }
  // Normalised rows of one value are ones, times the gains.
  const norm = { gains: new Float32Array(32).fill(2), width: 32, epsilon: 0 };
  matrix.multiply(new Float32Array(32).fill(7), out.subarray(0, 64), norm);
  assert(Math.abs(out[8] - 64) < 0.01, `${out[8]}`);
});

Deno.test("DenseMatrix refuses what does not fit, and goes on", (t) => {
  if (!needsNative(t)) return;
  for (const [outputs, columns] of [[0, 32], [31, 32], [32, 33], [2 ** 31, 2 ** 31]]) {
    assertThrows(() => DenseMatrix.open("q8", outputs, columns), RangeError, "a matrix of");
  }
  using matrix = counting(32, 64);
  const floats = (length: number) => new Float32Array(length);
  assertThrows(() => matrix.multiply(floats(63), floats(32)), RangeError, "63 numbers");
  assertThrows(() => matrix.multiply(floats(64), floats(31)), RangeError, "31 products");
  const norm = { gains: floats(63), width: 64, epsilon: 0 };
  assertThrows(() => matrix.multiply(floats(64), floats(32), norm), RangeError, "63 gains");
  assertThrows(
    () => matrix.fill(32, new Uint8Array(64), new Float16Array(2)),
    RangeError,
    "from output 32 on",
  );
  const library = loadNative();
  const { sparrow_matrix_open: open, sparrow_matrix_multiply: multiply } = library.symbols;
  assertEquals(open(9, 32, 32, new BigUint64Array(1)) & 0xff, 1);
  assertEquals(multiply(12345n, floats(1), 1, null, 0, 0, 0, floats(1), 1) & 0xff, 2);
  assertEquals(multiply(0n, null, 7, null, 3, 0, 0, null, 5) & 0xff, 2);
  const out = floats(32);
  matrix.multiply(floats(64).fill(1), out);
  assert(Math.abs(out[8] - 64) < 0.01);
  matrix[Symbol.dispose]();
  assertThrows(() => matrix.multiply(floats(64), out), TypeError, "disposed");
});

Deno.test("DenseMatrix multiplies by weights in floats as they are", (t) => {
  if (!needsNative(t)) return;
  const weights = Float32Array.from({ length: 32 * 64 }, (_, i) => (i * 37 % 101 - 50) / 64);
  const rows = Float32Array.from({ length: 2 * 64 }, (_, i) => (i * 29 % 17 - 8) / 4);
  for (const format of ["f32", "f16"] as const) {
    using matrix = DenseMatrix.open(format, 32, 64);
    // Every weight is a half, too.
    const codes = new Uint8Array((format === "f32" ? weights : new Float16Array(weights)).buffer);
    const bytes = codes.length / 32;
    matrix.fill(5, codes.subarray(5 * bytes), new Float16Array(0));
    matrix.fill(0, codes.subarray(0, 5 * bytes), new Float16Array(0));
    const out = new Float32Array(2 * 32);
    matrix.multiply(rows, out);
    out.forEach((found, i) => {
      const [row, output] = [Math.floor(i / 32), i % 32];
      let expected = 0;
      for (let k = 0; k < 64; k++) expected += rows[row * 64 + k] * weights[output * 64 + k];
      assert(Math.abs(found - expected) < 1e-4, `${format} ${i}: ${found}, expected ${expected}`);
    });
    assertThrows(
      () => matrix.fill(0, codes.subarray(0, bytes - 1), new Float16Array(0)),
      RangeError,
      `${bytes - 1} codes`,
    );
    assertThrows(
      () => matrix.fill(0, codes.subarray(0, bytes), new Float16Array(2)),
      RangeError,
      "2 lines",
    );
  }
});

Deno.test("DenseMatrix gives outputs' weights back, of every format", (t) => {
  if (!needsNative(t)) return;
  const count = 32 * 64;
  const codes = Uint8Array.from({ length: count }, (_, i) => i * 73 % 256);
  const signed = new Int8Array(codes.buffer);
  const lines = (each: number) =>
    new Float16Array(count / 32 * each).map((_, i) => (i % 9 - 4) / 8 + 0.0625);
  const [one, two] = [lines(1), lines(2)];
  const block = (i: number) => Math.floor(i / 32);
  const nibble = (i: number) => codes[block(i) * 16 + i % 16] >> (i % 32 < 16 ? 0 : 4) & 15;
  const formats = {
    q8: [codes, one, (i: number) => signed[i] * one[block(i)]],
    q8g16: [codes, two, (i: number) => signed[i] * two[Math.floor(i / 16)]],
    q8min: [codes, two, (i: number) => signed[i] * two[2 * block(i)] + two[2 * block(i) + 1]],
    q4: [
      codes.subarray(0, count / 2),
      two,
      (i: number) => nibble(i) * two[2 * block(i)] + two[2 * block(i) + 1],
    ],
  } as const;
  for (const [format, [codes, lines, expected]] of Object.entries(formats)) {
    using matrix = DenseMatrix.open(format as keyof typeof formats, 32, 64);
    matrix.fill(0, codes, lines);
    const out = new Float32Array(3 * 64);
    matrix.gather(Uint32Array.of(7, 31, 0), 2, out);
    out.forEach((found, i) => {
      const at = [7, 31, 0][Math.floor(i / 64)] * 64 + i % 64;
      assertEquals(found, 2 * expected(at), `${format}, weight ${at}`);
    });
    assertThrows(() => matrix.gather(Uint32Array.of(32), 1, out), RangeError, "output 32 of");
    assertThrows(() => matrix.gather(Uint32Array.of(1), 1, out), RangeError, "192 weights");
  }
});
