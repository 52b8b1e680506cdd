import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { type AttendResult, type AttentionBudget, KvContext } from "../../ffi/kv_context.ts";
import { loadNative, nativeProblem } from "../../ffi/load.ts";
import { check } from "../../ffi/status.ts";
import { Rng } from "../../src/common/rng.ts";
import { f16ToNumber, numberToF16 } from "../../src/formats/f16.ts";

// Opened while the module loads: a library opened inside a test counts as leaked by it.
const problem = nativeProblem();

function nativeTest(name: string, fn: () => void | Promise<void>): void {
  const reason = problem === undefined ? "" : " (skipped: the native library is not built)";
  Deno.test({ name: name + reason, ignore: problem !== undefined, fn });
}

/** Odd on purpose: padded rows, three query heads to a KV head. */
const shape = { layers: 2, kvHeads: 2, heads: 6, dim: 20, stride: 32, scale: 0.25 };
const PAGE = 64;

/** Pages whose padding holds numbers that must not count. */
function pages(count: number, rng: Rng): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(
    { length: count * shape.kvHeads * PAGE * shape.stride },
    () => numberToF16(rng.normal()),
  );
}

function room(rows: number): AttendResult {
  return {
    output: new Float32Array(rows * shape.heads * shape.stride),
    lse: new Float32Array(rows * shape.heads),
    reports: new Float32Array(rows * shape.heads * 3),
  };
}

/** Attention of one query head over all keys, in f64. */
function oracle(
  query: Float32Array,
  keys: Uint16Array,
  values: Uint16Array,
  kvHead: number,
): { output: number[]; lse: number } {
  const { kvHeads, dim, stride, scale } = shape;
  const rows: number[] = [];
  for (let page = 0; page < keys.length / (kvHeads * PAGE * stride); page++) {
    for (let slot = 0; slot < PAGE; slot++) {
      rows.push(((page * kvHeads + kvHead) * PAGE + slot) * stride);
    }
  }
  const scores = rows.map((at) => {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += query[i] * f16ToNumber(keys[at + i]);
    return scale * sum;
  });
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const mass = weights.reduce((sum, weight) => sum + weight);
  const output = Array.from(
    { length: dim },
    (_, i) =>
      rows.reduce((sum, at, row) => sum + weights[row] * f16ToNumber(values[at + i]), 0) / mass,
  );
  return { output, lse: top + Math.log(mass) };
}

function filled(
  rng: Rng,
  count: number,
): { context: KvContext; keys: Uint16Array<ArrayBuffer>; values: Uint16Array<ArrayBuffer> } {
  const context = KvContext.open(shape);
  const [keys, values] = [pages(count, rng), pages(count, rng)];
  for (let layer = 0; layer < shape.layers; layer++) {
    context.append(layer, keys, values);
    context.sample(layer, rng.normals(200 * shape.heads * shape.stride));
  }
  return { context, keys, values };
}

nativeTest(
  "KvContext attends to every key of every context in one call, before and after appends",
  async () => {
    const rng = new Rng(1);
    const parts = [filled(rng, 3), filled(rng, 5)];
    for (const { context } of parts) {
      for (let layer = 0; layer < shape.layers; layer++) await context.build(layer, 0.01);
    }
    const later = { keys: pages(2, rng), values: pages(2, rng) };
    parts[1].context.append(1, later.keys, later.values);
    const queries = rng.normals(2 * shape.heads * shape.stride);
    for (const budget of [{ kind: "all" }, { kind: "keys", count: 1e6 }] as AttentionBudget[]) {
      const result = room(2);
      KvContext.attend(parts.map(({ context }) => ({ context, budget })), 1, queries, result);
      for (let row = 0; row < 2; row++) {
        const join = (a: Uint16Array, b: Uint16Array) =>
          Uint16Array.from([...a, ...(row === 1 ? b : [])]);
        for (let head = 0; head < shape.heads; head++) {
          const at = row * shape.heads + head;
          const wanted = oracle(
            queries.subarray(at * shape.stride),
            join(parts[row].keys, later.keys),
            join(parts[row].values, later.values),
            Math.floor(head / 3),
          );
          assertLess(Math.abs(result.lse[at] - wanted.lse), 1e-5 * Math.abs(wanted.lse) + 1e-6);
          const found = result.output.subarray(at * shape.stride, (at + 1) * shape.stride);
          wanted.output.forEach((x, i) => assertLess(Math.abs(found[i] - x), 1e-5));
          assert(found.subarray(shape.dim).every((x) => x === 0), "padding is zero");
          assertEquals(result.reports[3 * at], (row === 0 ? 3 : 7) * PAGE);
        }
      }
    }
    for (const { context } of parts) context[Symbol.dispose]();
  },
);

nativeTest("KvContext gives the same bits for the same seed and content", () => {
  const results = [0, 1].map(() => {
    const { context } = filled(new Rng(7), 12);
    context.buildNow(0, 0.01);
    const result = room(1);
    const queries = new Rng(9).normals(shape.heads * shape.stride);
    KvContext.attend(
      [{ context, budget: { kind: "error", share: 0.05 } }],
      0,
      queries,
      result,
      true,
    );
    context[Symbol.dispose]();
    return result;
  });
  assertEquals(results[0], results[1]);
  for (let i = 0; i < shape.heads; i++) {
    const [, rest, bound] = results[0].reports.subarray(3 * i);
    assert(rest >= 0 && bound <= 1 && rest <= bound + 1e-3, `head ${i}: ${rest}, at most ${bound}`);
  }
});

nativeTest("KvContext refuses what does not fit, and counts its bytes", async () => {
  const rng = new Rng(3);
  assertThrows(() => KvContext.open({ ...shape, heads: 5 }), RangeError, "5 query heads over 2");
  assertThrows(() => KvContext.open({ ...shape, dim: 33 }), RangeError, "33 elements, 32 apart");
  assertThrows(() => KvContext.open({ ...shape, scale: NaN }), RangeError, "scale is NaN");
  const { context } = filled(rng, 2);
  const staged = context.bytes;
  assertEquals(staged, 2 * shape.layers * shape.dim * (2 * 2 * 2 * PAGE + 200 * shape.heads));
  const one = [{ context, budget: { kind: "all" } as const }];
  const queries = new Float32Array(shape.heads * shape.stride);
  assertThrows(() => KvContext.attend(one, 0, queries, room(1)), RangeError, "not built yet");
  assertThrows(
    () => context.append(0, pages(1, rng).subarray(2), pages(1, rng)),
    RangeError,
    "pages of",
  );
  assertThrows(() => context.append(2, pages(1, rng), pages(1, rng)), RangeError, "layer 2");
  await assertRejects(() => context.build(0, -1), RangeError, "target is -1");
  await context.build(0, 0.01);
  await assertRejects(() => context.build(0, 0.01), RangeError, "built already");
  assertThrows(() => context.sample(0, queries), RangeError, "built already");
  assertThrows(() => KvContext.attend(one, 0, queries.fill(NaN), room(1)), RangeError, "NaN");
  assertThrows(
    () => KvContext.attend(one, 0, queries.subarray(1), room(1)),
    RangeError,
    "elements",
  );
  assert(context.bytes > 0);
  context[Symbol.dispose]();
  context[Symbol.dispose]();
  assertThrows(() => context.bytes, TypeError, "disposed");
});

nativeTest(
  "KvContext made for fixed budgets too finds nearly the best keys, and grows",
  async () => {
    // Rows that are much longer than keys have directions: clusters read far more of them than a graph, on any machine.
    const wide = { layers: 1, kvHeads: 1, heads: 2, dim: 256, stride: 256, scale: 0.5 };
    const rng = new Rng(5);
    const normals = (count: number) =>
      rng.normals(count * wide.stride).map((x, i) => i % wide.stride < 12 ? x : 0);
    const rows = (count: number) => Uint16Array.from(normals(count * PAGE), numberToF16);
    const [count, more] = [128, 20];
    const [keys, values] = [rows(count), rows(count)];
    const sample = normals(1000 * wide.heads);
    const [plain, fixed] = [KvContext.open(wide), KvContext.open(wide)];
    for (const context of [plain, fixed]) {
      context.append(0, keys, values);
      context.sample(0, sample);
    }
    plain.buildNow(0, 0.01);
    await fixed.build(0, 0.01, true);
    // Edges and a row of bytes, and where searches start.
    const besides = (fixed.bytes - plain.bytes) / (count * PAGE);
    assert(besides >= 96 + 256 && besides < 96 + 256 + 4, `${besides} bytes a key`);
    const [later, laterValues] = [rows(more), rows(more)];
    for (const context of [plain, fixed]) context.append(0, later, laterValues);
    const queries = normals(wide.heads);
    const attend = (context: KvContext, budget: AttentionBudget) => {
      const result = {
        output: new Float32Array(queries.length),
        lse: new Float32Array(wide.heads),
        reports: new Float32Array(3 * wide.heads),
      };
      KvContext.attend([{ context, budget }], 0, queries, result);
      return result;
    };
    const some = attend(fixed, { kind: "keys", count: 100 });
    const same = attend(plain, { kind: "keys", count: 100 });
    const all = attend(fixed, { kind: "all" });
    assertEquals(all, attend(plain, { kind: "all" }));
    for (let head = 0; head < wide.heads; head++) {
      assertLess(some.lse[head], all.lse[head]);
      assertLess(Math.abs(some.lse[head] - same.lse[head]), 0.05);
      assertLess(some.reports[3 * head], 0.8 * same.reports[3 * head], "keys that the graph meets");
      assertEquals(some.reports.subarray(3 * head + 1, 3 * head + 3), Float32Array.of(1, 1));
    }
    for (const context of [plain, fixed]) context[Symbol.dispose]();
  },
);

nativeTest("sparrow_context_build refuses a flag that is none, and stays unbuilt", () => {
  const library = loadNative();
  const { symbols } = library;
  const out = new BigUint64Array(1);
  check(library, symbols.sparrow_context_open(1, 1, 1, 4, 4, 1, 1, out));
  const rows = new Uint16Array(PAGE * 4);
  check(library, symbols.sparrow_context_append(out[0], 0, rows, rows.length, rows, rows.length));
  const build = (flag: number) =>
    check(library, symbols.sparrow_context_build_now(out[0], 0, 0.01, flag));
  assertThrows(() => build(1), RangeError, "0 queries");
  const query = Float32Array.of(1, 2, 3, 4);
  check(library, symbols.sparrow_context_sample(out[0], 0, query, query.length));
  for (const flag of [2, 0xffff_ffff]) {
    assertThrows(() => build(flag), RangeError, `fixed is ${flag}, expected 0 or 1`);
  }
  build(1);
  check(library, symbols.sparrow_context_dispose(out[0]));
});
