import { assert, assertEquals, assertThrows } from "@std/assert";
import { DenseLayer, type DenseLayerParts } from "../../ffi/dense_layer.ts";
import { DenseMatrix } from "../../ffi/dense_matrix.ts";
import { KvPages } from "../../ffi/kv_pages.ts";
import { loadNative } from "../../ffi/load.ts";
import { RopeTable } from "../../ffi/rope_table.ts";
import { needsNative } from "../support/needs_native.ts";

const floats = (length: number, value = 0) => new Float32Array(length).fill(value);
/** 256 positions without a rotation. */
const still = Float32Array.from({ length: 257 * 64 }, (_, i) => i % 2 === 0 ? 1 : 0);

/** A layer without weights, of two heads of 64 that share keys, and what it is made of. */
function emptyLayer(change: Partial<DenseLayerParts> = {}) {
  const matrix = (outputs: number, columns = 128) => DenseMatrix.open("q8", outputs, columns);
  const parts: DenseLayerParts = {
    qkv: matrix(256),
    output: matrix(128),
    up: matrix(64),
    down: matrix(128, 64),
    activation: "relu2",
    rope: RopeTable.open(64, still),
    place: 0,
    width: 100,
    heads: 2,
    kvHeads: 1,
    headDim: 64,
    dim: 64,
    stride: 128,
    epsilon: 1e-5,
    queryScale: 1,
    residualScale: 1,
    ...change,
  };
  return DenseLayer.open(parts, { attention: floats(128, 1), feedForward: floats(128, 1) });
}

/** A row that decodes as the last of `tokens`, on pages from 0 on. */
function decoding(tokens: number) {
  const count = Math.ceil(tokens / 64);
  return {
    spans: Uint32Array.of(0, 1, tokens - 1, tokens - 1, 0, count, 1),
    pages: Uint32Array.from({ length: count }, (_, i) => i),
  };
}

Deno.test("DenseLayer averages values where all keys are alike, and says how much it saw", (t) => {
  if (!needsNative(t)) return;
  using layer = emptyLayer();
  using cache = KvPages.open({ layers: 1, kvHeads: 1, dim: 64, pages: 3 });
  const values = new Float16Array(3 * 64 * 64).map((_, i) => Math.floor(i / 64));
  const bits = new Uint16Array(values.buffer);
  cache.write(0, [0, 1, 2], new Uint16Array(bits.length), bits);
  for (const tokens of [1, 64, 65, 130]) {
    const [attended, masses] = [floats(128, NaN), floats(2, NaN)];
    layer.attend(cache, decoding(tokens), floats(128), attended, masses);
    const mean = (tokens - 1) / 2;
    assert(attended.every((x) => Math.abs(x - mean) < 1e-4 * Math.max(1, mean)), `${tokens}`);
    assert(masses.every((mass) => Math.abs(mass - Math.log2(tokens)) < 1e-5), `${tokens}`);
  }
  using sliding = emptyLayer({ window: 3 });
  const [attended, masses] = [floats(128), floats(2)];
  sliding.attend(cache, decoding(66), floats(128), attended, masses);
  assert(attended.every((x) => Math.abs(x - 64) < 1e-4), `${attended[0]}`);
});

Deno.test("DenseLayer without weights leaves rows as they are, and stores zeros", (t) => {
  if (!needsNative(t)) return;
  using layer = emptyLayer();
  using cache = KvPages.open({ layers: 1, kvHeads: 1, dim: 64, pages: 2 });
  const ones = new Uint16Array(2 * 64 * 64).fill(0x3c00);
  cache.write(0, [0, 1], ones, ones);
  const x = floats(128, 3);
  const queries = floats(128, NaN);
  layer.project(cache, decoding(70), x, queries);
  assert(queries.every((x) => x === 0));
  const { keys, values } = cache.read(0, [1]);
  const stored = (at: number) => at >= 5 * 64 && at < 6 * 64 ? 0 : 0x3c00;
  keys.forEach((bits, at) => assertEquals(bits, stored(at), `key element ${at}`));
  values.forEach((bits, at) => assertEquals(bits, stored(at), `value element ${at}`));
  layer.complete(floats(128, 1), x);
  assert(x.every((x) => x === 3));
});

Deno.test("DenseLayer.run does what its layers do one after the other", (t) => {
  if (!needsNative(t)) return;
  const layers = [0, 1].map((place) => {
    const noise = (outputs: number, columns: number) => {
      const matrix = DenseMatrix.open("q8", outputs, columns);
      const codes = Uint8Array.from({ length: outputs * columns }, (_, i) => i * i * 31 % 251);
      matrix.fill(0, codes, new Float16Array(codes.length / 32).fill(0.001 * (place + 1)));
      return matrix;
    };
    const [qkv, output, up, down] = [[256, 128], [128, 128], [64, 128], [128, 64]];
    const matrices = {
      qkv: noise(qkv[0], qkv[1]),
      output: noise(output[0], output[1]),
      up: noise(up[0], up[1]),
      down: noise(down[0], down[1]),
    };
    return emptyLayer({ ...matrices, place });
  });
  const room = () => ({ queries: floats(128), attended: floats(128), logMasses: floats(2) });
  const found = [true, false].map((together) => {
    using cache = KvPages.open({ layers: 2, kvHeads: 1, dim: 64, pages: 2 });
    const x = Float32Array.from({ length: 128 }, (_, i) => i < 100 ? Math.sin(i) : 0);
    const { queries, attended, logMasses } = room();
    for (const tokens of [1, 2, 70]) {
      const row = decoding(tokens);
      if (together) DenseLayer.run(layers, cache, row, x, { queries, attended, logMasses });
      else {
        for (const layer of layers) {
          layer.project(cache, row, x, queries);
          layer.attend(cache, row, queries, attended, logMasses);
          layer.complete(attended, x);
        }
      }
    }
    return x;
  });
  assertEquals(found[0], found[1]);
  assert(found[0].some((x, i) => Math.abs(x - Math.sin(i)) > 0.01), "layers have weights");
});

Deno.test("KvPages gives back what was written, and copies whole pages of all layers", (t) => {
  if (!needsNative(t)) return;
  using cache = KvPages.open({ layers: 2, kvHeads: 2, dim: 64, pages: 4 });
  const bits = (from: number) => Uint16Array.from({ length: 2 * 8192 }, (_, i) => from + i);
  for (const layer of [0, 1]) cache.write(layer, [3, 1], bits(layer), bits(layer + 7));
  cache.copy(1, 2);
  for (const layer of [0, 1]) {
    const { keys, values } = cache.read(layer, [1, 2, 0]);
    const [expected, others] = [bits(layer), bits(layer + 7)].map((bits) => bits.subarray(8192));
    const zeros = new Uint16Array(8192);
    assertEquals(keys, Uint16Array.of(...expected, ...expected, ...zeros), `keys of ${layer}`);
    assertEquals(values, Uint16Array.of(...others, ...others, ...zeros), `values of ${layer}`);
  }
});

Deno.test("layers and caches refuse what does not fit, and go on", (t) => {
  if (!needsNative(t)) return;
  for (
    const wrong of [{ layers: 0 }, { kvHeads: 0 }, { dim: 32 }, { pages: 0 }, { pages: 2 ** 31 }]
  ) {
    const shape = { layers: 1000, kvHeads: 1000, dim: 64, pages: 2, ...wrong };
    assertThrows(() => KvPages.open(shape), RangeError, undefined, JSON.stringify(wrong));
  }
  for (
    const wrong of [{ heads: 3 }, { kvHeads: 0 }, { dim: 96 }, { headDim: 65 }, { stride: 127 }, {
      width: 0,
    }, { width: 129 }]
  ) {
    assertThrows(() => emptyLayer(wrong), RangeError, undefined, JSON.stringify(wrong));
  }
  using cache = KvPages.open({ layers: 1, kvHeads: 1, dim: 64, pages: 2 });
  const page = new Uint16Array(64 * 64);
  assertThrows(() => cache.copy(0, 2), RangeError, "page 2 of a cache of 2");
  assertThrows(() => cache.read(1, [0]), RangeError, "layer 1 of a cache of 1");
  assertThrows(() => cache.write(0, [0], page, page.subarray(1)), RangeError, "4095 of values");
  using layer = emptyLayer();
  using other = emptyLayer({ place: 1 });
  const attend = (
    { spans, pages }: ReturnType<typeof decoding>,
    queries = floats(128),
    masses = floats(2),
    by = layer,
  ) => by.attend(cache, { spans, pages }, queries, floats(128), masses);
  const row = decoding(70);
  const spans = (...words: number[]) => ({ spans: Uint32Array.from(words), pages: row.pages });
  assertThrows(() => attend(row, floats(127)), RangeError, "127 elements");
  assertThrows(() => attend(row, floats(128), floats(1)), RangeError, "1 masses");
  assertThrows(() => attend(row, floats(128), floats(2), other), RangeError, "layer 1");
  assertThrows(() => attend(decoding(130)), RangeError, "page 2 of a cache of 2");
  assertThrows(() => attend(spans(0, 1, 69, 69, 0, 1, 1)), RangeError, "of 1 pages");
  assertThrows(() => attend(spans(0, 1, 69, 69, 1, 2, 1)), RangeError, "2 pages from 1 on");
  assertThrows(() => attend(spans(1, 1, 69, 69, 0, 2, 1)), RangeError, "rows from 1 on");
  assertThrows(() => attend(spans(0, 2, 69, 69, 0, 2, 1)), RangeError, "rows from 0 on");
  assertThrows(() => attend(spans(0, 1, 69)), RangeError, "3 words too many");
  assertThrows(
    () => layer.project(cache, spans(0, 1, 256, 69, 0, 2, 1), floats(128), floats(128)),
    RangeError,
    "position 256 on, of 256",
  );
  for (const table of [still.subarray(1), still.subarray(0, 256 * 64), floats(0)]) {
    assertThrows(() => RopeTable.open(64, table), RangeError, "rotations");
  }
  assertThrows(() => RopeTable.open(0, still), RangeError, "heads of 0");
  assertThrows(
    () => emptyLayer({ rope: RopeTable.open(128, new Float32Array(257 * 128)) }),
    RangeError,
    "rotations for heads of 128",
  );
  assertThrows(() => layer.complete(floats(127), floats(128)), RangeError, "127 numbers");
  const { sparrow_layer_set: set, sparrow_layer_complete: complete } = loadNative().symbols;
  assertEquals(set(12345n, 0, floats(1), 1) & 0xff, 2);
  assertEquals(complete(0n, null, 1, null, 1) & 0xff, 2);
  attend(row);
  layer[Symbol.dispose]();
  assertThrows(() => attend(row), TypeError, "disposed");
});
