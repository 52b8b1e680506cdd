import { assert, assertEquals, assertThrows } from "@std/assert";
import { ByteMatrix } from "../../ffi/byte_matrix.ts";
import { loadNative } from "../../ffi/load.ts";
import { PrefillAttention } from "../../ffi/prefill_attention.ts";
import { needsNative } from "../support/needs_native.ts";

/** A matrix whose outputs are sums of 32 neighbours: weights of 1, scaled by the output's number. */
function counting(outputs: number, columns: number): ByteMatrix {
  const matrix = ByteMatrix.open("q8", outputs, columns);
  const blocks = columns / 32;
  for (let output = 0; output < outputs; output++) {
    const codes = new Uint8Array(columns).fill(1);
    matrix.fill(output, codes, new Float16Array(blocks).fill(output / 8));
  }
  return matrix;
}

Deno.test("ByteMatrix multiplies rows into panels of 32 outputs", (t) => {
  if (!needsNative(t)) return;
  using matrix = counting(64, 32);
  const rows = Float32Array.from({ length: 3 * 32 }, (_, i) => i < 64 ? 1 : -0.5);
  const out = new Float32Array(3 * 64);
  matrix.multiply(rows, out);
  for (let row = 0; row < 3; row++) {
    for (let output = 0; output < 64; output++) {
      const found = out[(Math.floor(output / 32) * 3 + row) * 32 + output % 32];
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

Deno.test("ByteMatrix refuses what does not fit, and goes on", (t) => {
  if (!needsNative(t)) return;
  for (const [outputs, columns] of [[0, 32], [31, 32], [32, 33], [2 ** 31, 2 ** 31]]) {
    assertThrows(() => ByteMatrix.open("q8", outputs, columns), RangeError, "a matrix of");
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
  using wide = counting(64, 32);
  assertThrows(
    () => wide.feedForward(wide, "relu2", floats(32), floats(64)),
    RangeError,
    "expected at most 32 inputs",
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

Deno.test("PrefillAttention averages what a row sees, and refuses what does not fit", (t) => {
  if (!needsNative(t)) return;
  const shape = { heads: 2, kvHeads: 1, dim: 64 };
  // Queries of zeros: weights are equal, and the values count up.
  using attention = PrefillAttention.open(shape, 2, new Float32Array(2 * 128));
  const keys = new Uint16Array(64 * 64);
  const values = new Float16Array(64 * 64).map((_, i) => Math.floor(i / 64));
  attention.attend(0, keys, new Uint16Array(values.buffer));
  const out = new Float32Array(2 * 130).fill(NaN);
  attention.finish(64, 130, out);
  for (const [row, mean] of [[0, 1], [1, 1.5]]) {
    const found = out.subarray(row * 130, (row + 1) * 130);
    assert(found.subarray(0, 128).every((value) => Math.abs(value - mean) < 1e-6), `row ${row}`);
    assertEquals([...found.subarray(128)], [0, 0]);
  }
  assertThrows(() => attention.attend(0, keys, keys.subarray(1)), RangeError, "of pages of 4096");
  assertThrows(() => attention.finish(65, 130, out), RangeError, "65 of each");
  assertThrows(
    () => PrefillAttention.open({ ...shape, kvHeads: 3 }, 0, new Float32Array(128)),
    RangeError,
    "attention of 128 elements",
  );
  attention[Symbol.dispose]();
  assertThrows(() => attention.attend(0, keys, keys), TypeError, "disposed");
});
