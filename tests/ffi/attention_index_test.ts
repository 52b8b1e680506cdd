import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AttentionIndex } from "../../ffi/attention_index.ts";
import { loadNative } from "../../ffi/load.ts";
import { ModelFormatError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import { needsNative } from "../support/needs_native.ts";

const dim = 16;

/** Keys in topics, and queries that want one. */
function problem(count: number, queryCount: number): { keys: Float32Array; queries: Float32Array } {
  const rng = new Rng(7);
  const centres = rng.normals(20 * dim);
  const near = (noise: number) => {
    const topic = rng.integer(20);
    return Array.from({ length: dim }, (_, j) => centres[topic * dim + j] + noise * rng.normal());
  };
  return {
    keys: Float32Array.from(Array.from({ length: count }, () => near(0.4)).flat()),
    queries: Float32Array.from(Array.from({ length: queryCount }, () => near(0.3)).flat()),
  };
}

/** The k best keys of one query, by plain sums. */
function exact(keys: Float32Array, query: Float32Array, k: number): number[] {
  const score = (i: number) => query.reduce((sum, x, j) => sum + x * keys[i * dim + j], 0);
  const scores = Array.from({ length: keys.length / dim }, (_, i) => score(i));
  return scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]).slice(0, k);
}

Deno.test("AttentionIndex finds nearly all of the best keys by every strategy, best first", (t) => {
  if (!needsNative(t)) return;
  const { keys, queries } = problem(4000, 600);
  for (const strategy of ["graph", "clusters", "flat"] as const) {
    const options = {
      keys,
      dim,
      queries: queries.subarray(0, 500 * dim),
      k: 20,
      strategies: [strategy],
    };
    using index = AttentionIndex.build(options);
    assertEquals(index.info.strategy, strategy);
    assertEquals(index.info.keys, 4000);
    const test = queries.subarray(500 * dim);
    const { ids, scores, scanned } = index.search(test, { k: 20 });
    let common = 0;
    for (let q = 0; q < 100; q++) {
      const wanted = new Set(exact(keys, test.subarray(q * dim, (q + 1) * dim), 20));
      common += [...ids.subarray(q * 20, (q + 1) * 20)].filter((id) => wanted.has(id)).length;
      const row = scores.subarray(q * 20, (q + 1) * 20);
      assert(row.every((score, i) => i === 0 || row[i - 1] >= score), "scores fall");
    }
    assertGreater(common / 2000, 0.93, strategy);
    assertGreater(4001, Math.max(...scanned) - 1, "no more than all keys");
  }
});

Deno.test("AttentionIndex answers the same after saving and loading, and finds appended keys", async (t) => {
  if (!needsNative(t)) return;
  const { keys, queries } = problem(1500, 300);
  const path = await Deno.makeTempFile();
  try {
    using index = AttentionIndex.build({ keys: keys.subarray(0, 1400 * dim), dim, queries });
    index.append(keys.subarray(1400 * dim));
    index.save(path);
    using loaded = AttentionIndex.load(path);
    assertEquals(loaded.info, index.info);
    assertEquals(loaded.search(queries, { k: 5 }), index.search(queries, { k: 5 }));
    // An appended key far from all others is the best answer to itself.
    const far = new Float32Array(dim).fill(50);
    loaded.append(far);
    assertEquals(loaded.search(far, { k: 1 }).ids[0], 1500);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("AttentionIndex searches with the effort that it says it chose, from a file too", async (t) => {
  if (!needsNative(t)) return;
  const { keys, queries } = problem(6000, 300);
  const path = await Deno.makeTempFile();
  try {
    using index = AttentionIndex.build({ keys, dim, queries, strategies: ["clusters"] });
    index.save(path);
    using loaded = AttentionIndex.load(path);
    const { effort } = index.info;
    const chosen = index.search(queries, { effort });
    assertEquals(index.search(queries).scanned, chosen.scanned);
    assertEquals(loaded.search(queries).scanned, chosen.scanned);
    const more = index.search(queries, { k: 150 });
    assertGreater(more.scanned[0], chosen.scanned[0], "more keys take more effort");
    assertEquals(loaded.search(queries, { k: 150 }).scanned, more.scanned);
    assert(more.ids.every((id) => id < 6000));
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("AttentionIndex counts the memory of its geometry", (t) => {
  if (!needsNative(t)) return;
  using index = AttentionIndex.build({ keys: new Float32Array(256).fill(1), dim: 256 });
  assertGreater(index.info.bytes, 4 * 256 * 256);
});

Deno.test("AttentionIndex fills up what a small index cannot give", (t) => {
  if (!needsNative(t)) return;
  using index = AttentionIndex.build({ keys: Float32Array.of(1, 0, 0, 1), dim: 2 });
  const { ids, scores } = index.search(Float32Array.of(1, 0.5), { k: 4 });
  assertEquals([...ids], [0, 1, 2 ** 32 - 1, 2 ** 32 - 1]);
  assertEquals([...scores], [1, 0.5, -Infinity, -Infinity]);
});

Deno.test("AttentionIndex names what is wrong with its arguments", async (t) => {
  if (!needsNative(t)) return;
  const keys = Float32Array.of(1, 2, 3, 4);
  assertThrows(
    () => AttentionIndex.build({ keys, dim: 3 }),
    RangeError,
    "4 elements are not whole rows",
  );
  assertThrows(
    () => AttentionIndex.build({ keys: new Float32Array(0), dim: 3 }),
    RangeError,
    "no keys",
  );
  assertThrows(
    () => AttentionIndex.build({ keys: Float32Array.of(NaN), dim: 1 }),
    RangeError,
    "NaN",
  );
  assertThrows(
    () => AttentionIndex.build({ keys: Float32Array.of(1e5, 1), dim: 2 }),
    RangeError,
    "element 0 of row 0 is 100000",
  );
  const wrong = [{ dim: 0 }, { dim: 1.5 }, { k: 0 }, { k: -1 }, { seed: 2 ** 32 }, {
    clusterSize: NaN,
  }];
  for (const [name, value] of wrong.flatMap((options) => Object.entries(options))) {
    const build = () => AttentionIndex.build({ keys, dim: 2, [name]: value });
    assertThrows(build, RangeError, `${name} is ${value}, expected an integer from`);
  }
  for (const recall of [-0.1, 1.1, NaN, "0.9" as unknown as number]) {
    const build = () => AttentionIndex.build({ keys, dim: 2, recall });
    assertThrows(build, RangeError, `recall is ${recall}, expected a number from 0 to 1`);
  }
  const strategies = ["graph", "trees" as "flat"] as const;
  assertThrows(() => AttentionIndex.build({ keys, dim: 2, strategies }), RangeError, '"trees"');
  assertThrows(
    () => AttentionIndex.build({ keys, dim: 2, strategies: "graph" as unknown as [] }),
    RangeError,
    'strategies: "graph", expected a list of graph, clusters, flat',
  );
  for (const other of [Float64Array.of(1, 2), [1, 2], new Uint8Array(8), undefined]) {
    const floats = other as unknown as Float32Array;
    assertThrows(
      () => AttentionIndex.build({ keys: floats, dim: 2 }),
      TypeError,
      "keys is of type",
    );
  }
  assertThrows(() => AttentionIndex.load("/nowhere/index"), Error, "/nowhere/index");
  const index = AttentionIndex.build({ keys, dim: 2 });
  assertThrows(() => index.search(Float32Array.of(1), { k: 1 }), RangeError);
  assertThrows(() => index.search(Float32Array.of(3e38, 1)), RangeError, "at most 65504");
  const given = Float32Array.of(1, 2);
  given.buffer.transfer();
  for (const use of [() => index.search(given), () => index.append(given)]) {
    assertThrows(use, TypeError, "is detached: its memory was transferred");
  }
  assertThrows(() => AttentionIndex.build({ keys: given, dim: 2 }), TypeError, "keys is detached");
  assertThrows(
    () => index.search(undefined as unknown as Float32Array),
    TypeError,
    "queries is of type Undefined",
  );
  const bytes = new Uint8Array(2) as unknown as Float32Array;
  const words = "is of type Uint8Array, expected Float32Array";
  assertThrows(() => index.search(bytes), TypeError, `queries ${words}`);
  assertThrows(() => index.append(bytes), TypeError, `keys ${words}`);
  assertThrows(() => index.search(keys, { k: 0.5 }), RangeError, "k is 0.5");
  const all = 4_000_000_000;
  assertThrows(() => index.search(keys, { k: all }), RangeError, `k is ${all} for`);
  index[Symbol.dispose]();
  index[Symbol.dispose]();
  assertThrows(() => index.search(keys), TypeError, "disposed of");
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "SPARROWX but not an index, whatever the start says");
    assertThrows(() => AttentionIndex.load(path), ModelFormatError, path);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("native exports refuse any handle, length and number without a crash", (t) => {
  if (!needsNative(t)) return;
  const { symbols } = loadNative();
  const data = Float32Array.from({ length: 24 }, (_, i) => i);
  const number = fc.oneof(fc.constantFrom(0, 1, 2, 4, 8, 24), fc.nat(24));
  const real = fc.oneof(fc.float(), fc.constantFrom(0, -1, NaN, Infinity));
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      number,
      number,
      number,
      number,
      real,
      (...args) => {
        const [handle, a, b, c, d, x] = args;
        const out = new BigUint64Array(1);
        const counts = new Uint32Array(24);
        assertGreater(
          symbols.sparrow_index_search(handle, data, a, b, c, counts, data, d, counts, a),
          0,
        );
        assertGreater(symbols.sparrow_index_dispose(handle), 0);
        if (symbols.sparrow_index_build(data, a, data, b, c, d, a, b, x, d, c, out) === 0) {
          const found = new Uint32Array(24);
          symbols.sparrow_index_search(
            out[0],
            data,
            a,
            b,
            d,
            found,
            new Float32Array(24),
            24,
            new Uint32Array(24),
            c,
          );
          assertEquals(symbols.sparrow_index_dispose(out[0]), 0);
        }
      },
    ),
    { numRuns: 300 },
  );
});
