import { assert, assertEquals } from "@std/assert";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { expectedTokens } from "../support/fake_runner.ts";
import { Bench, generated, sequence } from "../support/scheduler_bench.ts";

/** Prompts that begin with `first` and go on alike, so that none follows another. */
const prompt = (length: number, first: number) =>
  Array.from({ length }, (_, i) => i === 0 ? first : i);
const sizes = (bench: Bench) =>
  bench.batches.map(({ rows }) => rows.map((row) => row.tokens.length));

Deno.test("Scheduler reads a short prompt beside a long one that came before it", () => {
  const bench = new Bench({ maxBatchTokens: 100 });
  const long = sequence(1000, { maxTokens: 1 });
  bench.add(long);
  const short = sequence([7, 8, 9], { maxTokens: 1 });
  const middle = sequence(prompt(120, 5), { maxTokens: 1 });
  bench.add(middle);
  bench.add(short);
  bench.drain();
  // A quarter of the step, the shortest first; the long one has the rest.
  assertEquals(sizes(bench).slice(0, 2), [[75, 3, 22], [75, 25]]);
  assertEquals(generated(short), expectedTokens([7, 8, 9], 1, greedy));
  assertEquals(generated(middle), expectedTokens(middle.ids.slice(0, 120), 1, greedy));
  assertEquals(generated(long), expectedTokens(long.ids.slice(0, 1000), 1, greedy));
  // 1,123 tokens are read in the steps that they fill.
  assertEquals(bench.batches.length, 12);
});

Deno.test("Scheduler reads a long prompt on though short ones keep coming", () => {
  const bench = new Bench({ maxBatchTokens: 100, pagesTotal: 400 });
  const long = sequence(1500, { maxTokens: 1 });
  bench.add(long);
  for (let i = 0; i < 25 && long.generated === 0; i++) {
    for (let j = 0; j < 4; j++) bench.add(sequence([i, j, ...Array(38).fill(3)], { maxTokens: 1 }));
    bench.step();
  }
  assertEquals(long.generated, 1, "1,500 tokens at 75 a step");
  bench.drain();
});

Deno.test("Scheduler lets prompts wait behind one that is not many times as long, or more pressing", () => {
  for (
    const [length, criteria] of [[300, "latency"], [40, "throughput"]] as const
  ) {
    const bench = new Bench({ maxBatchTokens: 100 });
    bench.add(sequence(1000, { maxTokens: 1 }));
    bench.add(sequence(prompt(length, 5), { maxTokens: 1, criteria }));
    bench.step();
    assertEquals(sizes(bench)[0], [100], criteria);
    bench.drain();
  }
});

Deno.test("Scheduler counts a prompt that the cache holds most of as short", () => {
  const bench = new Bench({ maxBatchTokens: 100, pagesTotal: 100 });
  const document = sequence(640, { maxTokens: 1 });
  bench.add(document);
  bench.drain();
  const done = bench.batches.length;
  bench.add(sequence(prompt(900, 5), { maxTokens: 1 }));
  const question = sequence([...document.ids.slice(0, 640), 1, 2, 3], { maxTokens: 1 });
  bench.add(question);
  bench.step();
  const [first] = sizes(bench).slice(done);
  assertEquals(first.length, 2, `${first}`);
  assert(question.cachedTokens >= 576, `${question.cachedTokens} cached`);
  bench.drain();
});
