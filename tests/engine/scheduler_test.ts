import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { CapacityError } from "../../src/common/errors.ts";
import { RetryEstimate } from "../../src/engine/retry_estimate.ts";
import type { Sequence } from "../../src/engine/sequence.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { expectedTokens } from "../support/fake_runner.ts";
import { Bench, generated, sequence } from "../support/scheduler_bench.ts";

Deno.test("Scheduler prefills in chunks of the token budget and samples after the last", () => {
  const bench = new Bench({ maxBatchTokens: 100 });
  const one = sequence(250);
  bench.add(one);
  bench.drain();
  const prefill = bench.batches.slice(0, 3).map((
    { rows },
  ) => [rows[0].position, rows[0].tokens.length, rows[0].sample]);
  assertEquals(prefill, [[0, 100, false], [100, 100, false], [200, 50, true]]);
  assertEquals(generated(one), expectedTokens(one.ids.slice(0, 250), 4, greedy));
});

Deno.test("Scheduler mixes a long prompt's chunks with the tokens of running streams", () => {
  const bench = new Bench({ maxBatchTokens: 256 }, { mixedStepTokens: 65 });
  const short = sequence([1, 2, 3], { maxTokens: 30 });
  const long = sequence(640, { maxTokens: 1 });
  bench.add(short);
  bench.step();
  bench.add(long);
  bench.drain();
  const mixed = bench.batches.filter(({ rows }) => rows.some((row) => row.tokens.length > 3));
  assertEquals(mixed.length, 10);
  for (const { rows } of mixed) assertEquals(rows.map((row) => row.tokens.length), [0, 64]);
  assertEquals(generated(short), expectedTokens([1, 2, 3], 30, greedy));
});

Deno.test("Scheduler reads in steps of what the runner says, or of what it is told, and twice that beside throughput work", () => {
  const longest = (runner: number | undefined, told: number | undefined, latency: boolean) => {
    const options = told === undefined ? {} : { mixedStepTokens: told };
    const bench = new Bench({ maxBatchTokens: 256, mixedStepTokens: runner }, options);
    const criteria = latency ? "latency" : "throughput";
    bench.add(sequence([1, 2, 3], { maxTokens: 30, criteria }));
    bench.step();
    bench.add(sequence(640, { maxTokens: 1, criteria }));
    bench.drain();
    const sizes = bench.batches.map(({ rows }) =>
      rows.length < 2 ? 0 : rows.reduce((sum, row) => sum + Math.max(1, row.tokens.length), 0)
    );
    return Math.max(...sizes);
  };
  assertEquals(longest(48, undefined, true), 48);
  assertEquals(longest(48, undefined, false), 96);
  assertEquals(longest(48, 80, true), 80);
  assertEquals(longest(undefined, undefined, true), 128);
  assertEquals(longest(undefined, undefined, false), 256);
});

Deno.test("Scheduler keeps half of a mixed step for prompts, however many rows decode", () => {
  const bench = new Bench({ maxSequences: 61, pagesTotal: 200 }, { mixedStepTokens: 64 });
  for (let i = 0; i < 60; i++) bench.add(sequence([i], { maxTokens: 40 }));
  bench.step();
  bench.add(sequence(Array.from({ length: 320 }, (_, i) => 1000 + i), { maxTokens: 1 }));
  bench.drain();
  const read = bench.batches.flatMap(({ rows }) =>
    rows.length === 61 ? rows.filter((row) => row.tokens.length > 0) : []
  );
  assertEquals(read.map((row) => row.tokens.length), Array.from({ length: 10 }, () => 32));
});

Deno.test("Scheduler admits latency work before throughput work, then by priority, then by arrival", () => {
  const bench = new Bench({ maxSequences: 1 });
  const order = [
    sequence([1], { criteria: "throughput" }),
    sequence([2], { priority: 1 }),
    sequence([3]),
    sequence([4]),
    sequence([5], { priority: -1 }),
  ];
  bench.add(...order);
  bench.drain();
  const first = bench.batches.filter(({ rows }) => rows[0].tokens.length > 0).map(({ rows }) =>
    rows[0].tokens[0]
  );
  assertEquals(first, [5, 3, 4, 2, 1]);
});

Deno.test("Scheduler gives overdue throughput work its share of admissions, and lets it stay", () => {
  const bench = new Bench({ maxSequences: 1, pipelineDepth: 1 }, {
    patienceMs: 5,
    overdueShare: 3,
  });
  const patient = [0, 1].map(() => sequence([99], { criteria: "throughput", maxTokens: 4 }));
  bench.add(...patient);
  for (let i = 0; i < 60 && patient[1].state !== "gone"; i++) {
    bench.add(sequence([i], { maxTokens: 1 }));
    bench.step();
  }
  assertEquals(patient.map((one) => one.state), ["gone", "gone"]);
  const admissions = bench.batches.map(({ rows }) => rows[0]).filter((row) =>
    row.tokens.length > 0
  );
  const turns = admissions.map((row, i) => row.tokens[0] === 99 ? i : -1).filter((i) => i >= 0);
  assertEquals(turns.length, 2);
  assertEquals(turns[1] - turns[0], 3);
  assertEquals(bench.scheduler.preemptions, 0);
  bench.drain();
});

Deno.test("Scheduler keeps a page for each resident to grow into when it admits", () => {
  const bench = new Bench({ pagesTotal: 3, contextLength: 192 });
  const growing = sequence(60, { maxTokens: 10 });
  const later = sequence(100, { maxTokens: 20, scope: "later" });
  bench.add(growing);
  bench.step();
  bench.add(later);
  bench.drain();
  assertEquals(bench.scheduler.preemptions, 0);
  assertEquals(generated(later), expectedTokens(later.ids.slice(0, 100), 20, greedy));
});

Deno.test("Scheduler lets latency work in before a throughput prompt that is half read", () => {
  const bench = new Bench({ maxBatchTokens: 64, pipelineDepth: 1 });
  const background = sequence(640, { criteria: "throughput", maxTokens: 1, scope: "other" });
  bench.add(background);
  bench.step();
  const urgent = sequence(200, { maxTokens: 1 });
  bench.add(urgent);
  for (let i = 0; i < 4; i++) bench.step();
  assertEquals([urgent.state, background.computed], ["gone", 64 + 56]);
  bench.drain();
  assertEquals(generated(background), expectedTokens(background.ids.slice(0, 640), 1, greedy));
});

Deno.test("Scheduler reads a prefix as soon as its most urgent follower would be read", () => {
  const bench = new Bench({ maxBatchTokens: 64, pipelineDepth: 1 });
  const prefix = Array.from({ length: 639 }, (_, i) => i % 9);
  const background = sequence([...prefix, 40], { criteria: "throughput", maxTokens: 1 });
  bench.add(background);
  bench.step();
  const urgent = sequence([...prefix, 41], { maxTokens: 1 });
  const other = sequence(640, { maxTokens: 1, scope: "other" });
  bench.add(urgent, other);
  while (urgent.state !== "gone") assert(bench.step());
  // One chunk in the step in which the urgent request came, and what was left of the step that read its last token.
  assertEquals(other.computed, 64 + 63);
  assertEquals(urgent.cachedTokens, 639);
  bench.drain();
});

Deno.test("Scheduler lets one request compute a shared prefix while the others wait for its pages", () => {
  const bench = new Bench({ maxBatchTokens: 128, pagesTotal: 64 });
  const prefix = Array.from({ length: 320 }, (_, i) => i % 7);
  const all = [10, 11, 12, 13].map((last) => sequence([...prefix, last, last]));
  bench.add(...all);
  bench.drain();
  // The prefix once, two tokens of each request, three decoded tokens of each.
  assertEquals(bench.runner.positions, 320 + 4 * 2 + 4 * 3);
  assertEquals(all.map((one) => one.cachedTokens), [0, 320, 320, 320]);
  for (const one of all) {
    assertEquals(generated(one), expectedTokens(one.ids.slice(0, 322), 4, greedy));
  }
});

Deno.test("Scheduler shares the exact common tokens of a running prompt's last page", () => {
  const bench = new Bench({ maxBatchTokens: 512 });
  const prefix = Array.from({ length: 150 }, (_, i) => i % 5);
  const [a, b] = [sequence([...prefix, 40], { maxTokens: 20 }), sequence([...prefix, 41])];
  bench.add(a, b);
  while (b.state === "waiting") bench.step();
  assertEquals(a.state, "running");
  bench.drain();
  assertEquals(b.cachedTokens, 150);
  assertEquals(bench.runner.copies, 1);
  assertEquals(generated(b), expectedTokens([...prefix, 41], 4, greedy));
});

Deno.test("Scheduler does not hold requests of another scope back, nor share with them", () => {
  const bench = new Bench({ maxBatchTokens: 512 });
  const all = ["a", "b"].map((scope) => sequence(150, { scope }));
  bench.add(...all);
  bench.drain();
  assertEquals(all.map((one) => one.cachedTokens), [0, 0]);
  assertEquals(bench.batches[0].rows.length, 2);
});

Deno.test("Scheduler pre-empts the youngest throughput work when pages run out, and keeps its tokens", () => {
  const bench = new Bench({ pagesTotal: 6, contextLength: 384 });
  const latency = sequence([1, 2], { maxTokens: 200 });
  const old = sequence([3, 4], { maxTokens: 100, criteria: "throughput" });
  const young = sequence([5, 6], { maxTokens: 200, criteria: "throughput" });
  bench.add(latency, old, young);
  const preempted = new Set<Sequence>();
  let steps = 0;
  while (bench.step()) {
    assert(++steps < 2000);
    for (const one of [latency, old, young]) if (one.state === "waiting") preempted.add(one);
  }
  assertEquals([...preempted], [young]);
  assert(bench.scheduler.preemptions >= 1 && bench.scheduler.preemptions < 5);
  assertEquals(generated(young), expectedTokens([5, 6], 200, greedy));
  assertEquals(generated(latency), expectedTokens([1, 2], 200, greedy));
  bench.drain();
});

Deno.test("Scheduler puts throughput work back when latency work needs its slot", () => {
  const bench = new Bench({ maxSequences: 1 });
  const background = sequence([1], { maxTokens: 50, criteria: "throughput" });
  bench.add(background);
  bench.step();
  const urgent = sequence([2], { maxTokens: 3 });
  bench.add(urgent);
  for (let i = 0; i < 7; i++) bench.step();
  assertEquals(urgent.state, "gone");
  bench.drain();
  assertEquals(generated(background), expectedTokens([1], 50, greedy));
});

Deno.test("Scheduler puts nothing back when that would not let the latency work in", () => {
  const bench = new Bench({ pagesTotal: 8, contextLength: 512 });
  const resident = sequence(200, { maxTokens: 40, scope: "a" });
  const background = sequence([1], { maxTokens: 20, criteria: "throughput" });
  const large = sequence(400, { scope: "b" });
  bench.add(resident, background);
  bench.step();
  bench.add(large);
  bench.drain();
  assertEquals(bench.scheduler.preemptions, 0);
  assertEquals(generated(large), expectedTokens(large.ids.slice(0, 400), 4, greedy));
});

Deno.test("Scheduler does not count pre-empted work when it refuses new work", () => {
  const bench = new Bench({ maxSequences: 1, pipelineDepth: 1 }, { maxWaiting: 1 });
  bench.add(sequence([1], { maxTokens: 20, criteria: "throughput" }));
  bench.step();
  bench.add(sequence([2], { maxTokens: 20 }));
  bench.step();
  bench.step();
  assertEquals(bench.scheduler.waiting, 1);
  bench.add(sequence([3]));
  assertThrows(() => bench.add(sequence([4])), CapacityError, "1 requests are waiting");
  bench.drain();
});

Deno.test("Scheduler.add refuses a full queue with a retry time and a prompt that cannot fit with the counts", () => {
  const bench = new Bench({ contextLength: 128 }, { maxWaiting: 1 });
  bench.add(sequence([1]));
  const error = assertThrows(
    () => bench.add(sequence([1])),
    CapacityError,
    "1 requests are waiting, at most 1",
  );
  assert(error.retryAfterSeconds >= 1);
  assertThrows(
    () => bench.add(sequence(125)),
    RangeError,
    "prompt of 125 tokens and 4 to generate exceed the context of 128",
  );
  assertThrows(() => bench.add(sequence([])), TypeError, "0 tokens");
  bench.drain();
});

Deno.test("Scheduler refuses limits under which decoding could keep every prompt out", () => {
  assertThrows(
    () => new Bench({ maxSequences: 8, maxBatchTokens: 8 }),
    RangeError,
    "maxBatchTokens is 8",
  );
});

Deno.test("Scheduler.finish frees a cancelled sequence in every state, pages after the steps in flight", () => {
  const bench = new Bench({ maxSequences: 1, maxBatchTokens: 64 });
  const [running, waiting] = [sequence(200, { maxTokens: 20 }), sequence([1])];
  bench.add(running, waiting);
  bench.step();
  assertEquals(bench.scheduler.stepsInFlight, 1);
  bench.scheduler.finish(running, 0);
  bench.scheduler.finish(waiting, 0);
  bench.scheduler.finish(running, 0);
  assertEquals([running.state, waiting.state], ["leaving", "gone"]);
  assert(bench.scheduler.blocks.pagesUsed > 0);
  bench.drain();
  assertEquals(running.state, "gone");
});

Deno.test("Scheduler discards the token of a step that was submitted before its sequence stopped", () => {
  const bench = new Bench();
  const one = sequence([1, 2, 3], { maxTokens: 10 });
  bench.add(one);
  while (one.generated < 4) bench.step();
  assertEquals(bench.scheduler.stepsInFlight, 1);
  bench.scheduler.finish(one, 0);
  bench.drain();
  assertEquals(one.generated, 4);
});

Deno.test("Scheduler computes the prompt of a request for 0 tokens, for others to find", () => {
  const bench = new Bench({ maxBatchTokens: 64 });
  const warm = sequence(150, { maxTokens: 0 });
  bench.add(warm);
  bench.drain();
  assertEquals(generated(warm), []);
  const next = sequence(200);
  bench.add(next);
  bench.drain();
  assertEquals(next.cachedTokens, 150);
});

Deno.test("Scheduler leaves the end of a prompt that throughput work fills ahead, where it would not fill a tile", () => {
  // [tokens of the prompt, latency, tokens to generate] -> tokens found by whoever reads on.
  for (
    const [tokens, criteria, maxTokens, found] of [
      [128 + 31, "throughput", 0, 128],
      [128 + 32, "throughput", 0, 128 + 32],
      [128 + 31, "latency", 0, 128 + 31],
      [128 + 31, "throughput", 1, 128 + 31],
      // Less than that in all, and nothing left out.
      [20, "throughput", 0, 20],
    ] as const
  ) {
    const bench = new Bench({ maxBatchTokens: 64 });
    const fill = sequence(tokens, { criteria, maxTokens });
    bench.add(fill);
    bench.drain();
    const next = sequence(300);
    bench.add(next);
    bench.drain();
    assertEquals(next.cachedTokens, found, `${tokens} tokens, ${criteria}, ${maxTokens}`);
    assertEquals(generated(next), expectedTokens(next.ids.slice(0, 300), 4, greedy));
  }
});

Deno.test("Scheduler.reset forgets pages and steps, returns what was resident and keeps what waits", () => {
  const bench = new Bench({ maxSequences: 1 });
  const [running, waiting] = [sequence(100), sequence([1])];
  bench.add(running, waiting);
  bench.step();
  assertEquals(bench.scheduler.reset(), [running]);
  assertEquals(bench.scheduler.stepsInFlight, 0);
  const after = new Bench({ maxSequences: 1 });
  while (true) {
    const batch = bench.scheduler.schedule(0);
    if (!batch) break;
    after.runner.submit(batch);
    for (const { sequence } of bench.scheduler.collect(after.runner.collect())) {
      if (sequence.generated === 4) bench.scheduler.finish(sequence, 0);
    }
  }
  assertEquals(generated(waiting), expectedTokens([1], 4, greedy));
  assertEquals(bench.scheduler.check(), []);
});

Deno.test("Scheduler gives every request the text it gets alone, and every page back, under random churn", () => {
  const request = fc.record({
    start: fc.nat(2),
    length: fc.integer({ min: 1, max: 260 }),
    turn: fc.nat(260),
    letter: fc.nat(1),
    maxTokens: fc.integer({ min: 0, max: 90 }),
    stopAfter: fc.integer({ min: 1, max: 150 }),
    cancelAt: fc.option(fc.nat(60), { freq: 4 }),
    latency: fc.boolean(),
    priority: fc.nat(2),
    seeded: fc.boolean(),
    seed: fc.nat(3),
    scope: fc.constantFrom("", "", "x"),
    arriveAt: fc.nat(40),
  });
  const settings = fc.record({
    pagesTotal: fc.integer({ min: 6, max: 20 }),
    maxSequences: fc.integer({ min: 1, max: 6 }),
    maxBatchTokens: fc.integer({ min: 7, max: 200 }),
    pipelineDepth: fc.integer({ min: 1, max: 3 }),
    mixedStepTokens: fc.integer({ min: 1, max: 200 }),
    latencyRows: fc.constantFrom(1, 2, Infinity),
    tokenMs: fc.constantFrom(0, 0.02, 1),
  });
  fc.assert(
    fc.property(settings, fc.array(request, { minLength: 1, maxLength: 14 }), (s, requests) => {
      const bench = new Bench({ ...s, contextLength: 360 }, {
        ...s,
        patienceMs: 20,
        overdueShare: 3,
      });
      bench.tokenMs = s.tokenMs;
      const live = requests.map((r) => ({
        r,
        one: sequence(Array.from({ length: r.length }, (_, i) => i < r.turn ? r.start : r.letter), {
          maxTokens: r.maxTokens,
          criteria: r.latency ? "latency" : "throughput",
          priority: r.priority,
          scope: r.scope,
          sampling: r.seeded ? { ...greedy, temperature: 1, seed: r.seed } : greedy,
        }),
      }));
      const stopped = new Set<Sequence>();
      let last = 0;
      for (let step = 0;; step++) {
        assert(step < 6000, "requests starve");
        for (const { r, one } of live) {
          if (r.arriveAt === step) bench.add(one);
          if (r.cancelAt !== null && step === r.arriveAt + r.cancelAt) {
            bench.scheduler.finish(one, bench.now);
          }
          if (one.generated >= r.stopAfter && !stopped.has(one)) {
            stopped.add(one);
            bench.scheduler.finish(one, bench.now);
          }
        }
        assertEquals(bench.scheduler.check(), []);
        if (!bench.step() && step > 40 && step > last) {
          if (live.every(({ one }) => one.state === "gone")) break;
        }
        last = step;
      }
      for (const { r, one } of live) {
        const tokens = generated(one);
        assertEquals(
          tokens,
          expectedTokens(one.ids.slice(0, r.length), tokens.length, one.sampling),
        );
        if (r.cancelAt === null) assertEquals(tokens.length, Math.min(r.maxTokens, r.stopAfter));
      }
      bench.drain();
      assert(
        bench.scheduler.preemptions < 40 * requests.length,
        `${bench.scheduler.preemptions} pre-emptions`,
      );
    }),
    { numRuns: 150 },
  );
});

Deno.test("RetryEstimate tells until when a quarter of the queue has moved on, from a second to a minute", () => {
  const estimate = new RetryEstimate();
  assertEquals(estimate.seconds(256), 1, "nothing has ended yet");
  for (let i = 0; i < 20; i++) estimate.finished(500 * i);
  assertEquals([1, 80, 256, 10_000].map((waiting) => estimate.seconds(waiting)), [1, 10, 32, 60]);
  // Requests end four times as slowly: the estimate follows within some ten of them.
  for (let i = 1; i <= 12; i++) estimate.finished(9500 + 2000 * i);
  const slower = estimate.seconds(80);
  assert(slower > 35 && slower <= 40, `${slower} s`);
});
