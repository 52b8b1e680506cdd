import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { type Bench, type BenchReport, race } from "../../scripts/bench/harness.ts";
import { appendRows, readRows } from "../../scripts/bench/rows_file.ts";
import { runBenches } from "../../scripts/bench/run_benches.ts";
import { formatTable, formatValue } from "../../scripts/bench/table.ts";

function benchOf(name: string, ...reports: BenchReport[]): Bench {
  return {
    name,
    summary: "",
    run: (context) => {
      reports.forEach((report) => context.report(report));
      return Promise.resolve();
    },
  };
}

const options = { full: false, device: "test device", note: () => {} };

Deno.test("race runs every candidate as often, in rotating order", async () => {
  const order: string[] = [];
  const candidate = (name: string) => ({ name, run: () => void order.push(name) });
  const results = await race([candidate("a"), candidate("b")], { rounds: 3, warmup: 1 });
  assertEquals(order, ["a", "b", "b", "a", "a", "b", "b", "a"]);
  assertEquals(results.map((r) => r.timesMs.length), [3, 3]);
  assertEquals(results[0].speedup, 1);
});

Deno.test("race tells the faster from the slower", async () => {
  const work = (ms: number) => () => {
    const end = performance.now() + ms;
    while (performance.now() < end);
  };
  const [slow, fast] = await race([
    { name: "slow", run: work(8) },
    { name: "fast", run: work(2) },
  ], { rounds: 5 });
  assert(slow.medianMs > 7 && fast.medianMs < 6, `${slow.medianMs} and ${fast.medianMs}`);
  assert(fast.speedup > 1.5);
});

Deno.test("race refuses no candidates and no rounds", async () => {
  await assertRejects(() => race([]), TypeError, "no candidates");
  await assertRejects(() => race([{ name: "a", run() {} }], { rounds: 0 }), RangeError, "rounds 0");
});

Deno.test("runBenches completes rows, and goes on after a bench that fails", async () => {
  const { rows, failures } = await runBenches([
    benchOf("one", { case: "a", metric: "ms", value: 2, unit: "ms", baseline: "flat", ratio: 3 }),
    benchOf("two", { case: "a", metric: "ms", value: NaN, unit: "ms" }),
    benchOf("three", { case: "a", metric: "ms", value: 1, unit: "ms", device: "other" }),
  ], options);
  assertEquals(rows.map((r) => [r.bench, r.baseline, r.ratio, r.device]), [
    ["one", "flat", 3, "test device"],
    ["three", null, null, "other"],
  ]);
  assertEquals(new Date(rows[0].date).toISOString(), rows[0].date);
  assertEquals(failures.map((f) => f.bench), ["two"]);
  assertStringIncludes(String(failures[0].error), "two/a/ms: expected a number, got NaN");
});

Deno.test("appendRows adds to the array of a file, and refuses a file that holds none", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "rows.json");
    const { rows } = await runBenches(
      [benchOf("one", { case: "a", metric: "ms", value: 2, unit: "ms" })],
      options,
    );
    await appendRows(path, rows);
    await appendRows(path, rows);
    assertEquals(await readRows(path), [...rows, ...rows]);
    assertEquals(JSON.parse(await Deno.readTextFile(path)).length, 2);
    for (const text of ["{}", "[1,"]) {
      await Deno.writeTextFile(path, text);
      await assertRejects(() => appendRows(path, rows), SyntaxError, "JSON array");
      assertEquals(await Deno.readTextFile(path), text);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("formatTable aligns numbers and leaves absent baselines empty", async () => {
  const { rows } = await runBenches([
    benchOf(
      "kernels",
      {
        case: "matmul",
        metric: "gflops",
        value: 72.456,
        unit: "GFLOP/s",
        baseline: "peak",
        ratio: 0.5,
      },
      { case: "readback", metric: "median_ms", value: 0.05, unit: "ms" },
    ),
  ], options);
  assertEquals(formatTable(rows).split("\n"), [
    "bench/case/metric           value  unit     against  ratio",
    "--------------------------  -----  -------  -------  -----",
    "kernels/matmul/gflops       72.46  GFLOP/s  peak      0.5×",
    "kernels/readback/median_ms   0.05  ms",
  ]);
});

Deno.test("formatValue keeps four digits", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [1234.6, "1,235"],
    [1234567, "1,234,567"],
    [0.00123456, "0.001235"],
    [3.21e9, "3.210e+9"],
    [-2.5, "-2.5"],
    [0.00001, "1.000e-5"],
  ];
  for (const [value, text] of cases) assertEquals(formatValue(value), text);
});
