import { assert, assertEquals } from "@std/assert";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { expectedTokens } from "../support/fake_runner.ts";
import { Bench, generated, sequence } from "../support/scheduler_bench.ts";

Deno.test("Scheduler caps the decode batch while latency work is resident, and lets capped rows take turns", () => {
  const bench = new Bench({ maxSequences: 8 }, { latencyRows: 2 });
  const background = [1, 2, 3].map((id) =>
    sequence([id], { maxTokens: 12, criteria: "throughput" })
  );
  bench.add(...background);
  bench.step();
  const urgent = sequence([9], { maxTokens: 12 });
  bench.add(urgent);
  bench.step();
  for (let i = 0; i < 6; i++) bench.step();
  const decoding = bench.batches.slice(-6);
  for (const { rows } of decoding) assertEquals(rows.length, 2);
  assertEquals(new Set(decoding.flatMap(({ rows }) => rows.map((row) => row.slot))).size, 4);
  bench.drain();
  for (const one of background) {
    assertEquals(generated(one), expectedTokens(one.ids.slice(0, 1), 12, greedy));
  }
});

Deno.test("Scheduler lets throughput work go on, one row a step, while latency work takes the whole cap", () => {
  const bench = new Bench({}, { latencyRows: 1 });
  const background = sequence([1], { maxTokens: 100, criteria: "throughput" });
  bench.add(background);
  bench.step();
  bench.add(sequence([9], { maxTokens: 20 }));
  for (let i = 0; i < 10; i++) bench.step();
  assert(background.generated >= 9, `${background.generated} tokens`);
  bench.drain();
});

Deno.test("Scheduler lets overdue bulk work prefill at full pace beside latency work", () => {
  for (const overdueShare of [1, 1000]) {
    const bench = new Bench({ maxBatchTokens: 256, pipelineDepth: 1 }, {
      patienceMs: 1,
      overdueShare,
    });
    bench.tokenMs = 4;
    bench.add(sequence([1], { maxTokens: 30 }));
    bench.step();
    const bulk = sequence(300, { criteria: "throughput" });
    bench.add(bulk);
    bench.now += 10;
    for (let i = 0; i < 4; i++) bench.step();
    assertEquals(bulk.prefilling, overdueShare > 1, `${bulk.computed} of 300 tokens after 4 steps`);
    bench.drain();
  }
});

Deno.test("Scheduler pushes no throughput work out whose pages are others' too, if that lets nothing in", () => {
  const bench = new Bench({ pagesTotal: 20, maxSequences: 4, maxBatchTokens: 1024 });
  const shared = Array.from({ length: 512 }, (_, i) => i);
  const first = sequence([...shared, 1], { maxTokens: 30 });
  const bulk = sequence([...shared, 2], { maxTokens: 60, criteria: "throughput" });
  bench.add(first, bulk);
  for (let i = 0; i < 4; i++) bench.step();
  const large = sequence(Array.from({ length: 690 }, (_, i) => 2000 + i), { maxTokens: 4 });
  bench.add(large);
  const before = bulk.generated;
  while (first.generated < 25) bench.step();
  assertEquals([bulk.state, large.state, bench.scheduler.preemptions], ["running", "waiting", 0]);
  assert(bulk.generated > before + 10, "the bulk work went on");
  // Now it holds the shared pages alone.
  while (first.state !== "gone") bench.step();
  while (large.generated < 4) bench.step();
  assertEquals(bench.scheduler.preemptions, 1);
  bench.drain();
  const prompt = [...shared, 2];
  assertEquals(generated(bulk), expectedTokens(prompt, 60, greedy));
});
