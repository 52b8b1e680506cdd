import { assert, assertEquals } from "@std/assert";
import { PrefillPace, type StepKind } from "../../src/engine/prefill_pace.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { Scheduler } from "../../src/engine/scheduler.ts";
import { Sequence } from "../../src/engine/sequence.ts";
import { FakeRunner } from "../support/fake_runner.ts";

/**
 * Steps that decode and that are mixed, over `steps` steps in which a chat decodes and a prompt is there to read: one that comes `later`
 * than throughput work that decodes too, or not.
 */
function run(
  decodeMs: number,
  mixedMs: number,
  steps: number,
  later = false,
): { decode: number; mixed: number } {
  const pace = new PrefillPace();
  const count = { decode: 0, mixed: 0 };
  let now = 0;
  for (let i = 0; i < steps; i++) {
    const hold = pace.hold(now, true);
    const held = hold === "all" || (later && hold === "later");
    pace.began(now, held ? "decode" : "throughput_prompts");
    count[held ? "decode" : "mixed"]++;
    now += held ? decodeMs : mixedMs;
  }
  return count;
}

Deno.test("PrefillPace: prompts get half of the time while latency work is served slowly, or earlier work decodes", () => {
  // Even alone, latency work would be served slowly here.
  const slow = run(100, 1100, 1100);
  assert(Math.abs(slow.decode / slow.mixed - 10) < 0.2, JSON.stringify(slow));
  const later = run(5, 55, 1100, true);
  assert(Math.abs(later.decode / later.mixed - 10) < 0.2, JSON.stringify(later));
});

Deno.test("PrefillPace: prompts are not held back while latency work is served well, and no more than that takes", () => {
  // 55 ms between tokens: fewer than 80.
  assertEquals(run(5, 55, 1000), { decode: 0, mixed: 1000 });
  const { decode, mixed } = run(10, 130, 1000);
  const ms = (10 * decode + 130 * mixed) / 1000;
  assert(ms > 60 && ms < 90, `${ms} ms between tokens`);
});

Deno.test("PrefillPace: prompts that ride along for nothing, or for little, are hardly held back", () => {
  // One step to learn what a decode step takes.
  assertEquals(run(10, 10, 1000, true), { decode: 1, mixed: 999 });
  const { decode, mixed } = run(10, 11, 1000, true);
  assert(Math.abs(mixed / decode - 10) < 0.5, `${decode} decode steps for ${mixed} mixed ones`);
});

Deno.test("PrefillPace: earlier work is owed a second at most, however long prompts were read without it", () => {
  const pace = new PrefillPace();
  let now = 0;
  const step = (kind: StepKind, ms: number) => {
    pace.hold(now, true);
    pace.began(now, kind);
    now += ms;
  };
  step("decode", 10);
  for (let i = 0; i < 100; i++) step("throughput_prompts", 70);
  let held = 0;
  for (; pace.hold(now, true) !== "none"; held++) step("decode", 10);
  assert(held >= 95 && held <= 100, `${held} steps of 10 ms`);
});

Deno.test("PrefillPace: nothing is held back where no latency work decodes, nor for time that nothing ran", () => {
  const pace = new PrefillPace();
  pace.began(0, "throughput_prompts");
  assertEquals(pace.hold(1000, false), "none", "no latency work decodes");
  pace.began(1000, "throughput_prompts");
  pace.idle();
  assertEquals(pace.hold(60_000, true), "none", "the engine was idle");
  pace.began(60_000, "latency_prompts");
  assertEquals(pace.hold(60_500, true), "none", "latency work's own prompt is no debt of others");
});

interface Turn {
  ms: number;
  decodes: number;
  prompt: number;
}

/** Runs a scheduler whose steps take 10 ms and 1 ms for each prompt token, of which there are `mixed` at most where latency work decodes. */
function turns(sequences: Sequence[], mixed = 60): Turn[] {
  const runner = new FakeRunner({ maxBatchTokens: 512 });
  const scheduler = new Scheduler(runner, { mixedStepTokens: mixed + 1 });
  for (const one of sequences) scheduler.add(one, 0);
  const result: Turn[] = [];
  for (let now = 0; scheduler.waiting + scheduler.running > 0;) {
    const batch = scheduler.schedule(now);
    assert(batch, "work is left but no step");
    const prompt = batch.rows.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const decodes = batch.rows.filter(({ tokens }) => tokens.length === 0).length;
    result.push({ ms: 10 + prompt, decodes, prompt });
    now += 10 + prompt;
    runner.submit(batch);
    for (const { sequence } of scheduler.collect(runner.collect())) {
      if (sequence.generated >= sequence.maxTokens) scheduler.finish(sequence, now);
    }
  }
  return result;
}

function sequence(
  prompt: number,
  maxTokens: number,
  latency: boolean,
  first = 0,
  priority = 0,
): Sequence {
  return new Sequence({
    id: crypto.randomUUID(),
    prompt: Array.from({ length: prompt }, (_, i) => first + i),
    maxTokens,
    sampling: greedy,
    criteria: latency ? "latency" : "throughput",
    priority,
  });
}

Deno.test("Scheduler lets throughput work read beside latency work, and lets an earlier job's decoding share the time evenly", () => {
  for (
    const [name, priority, held] of [["later", 2, true], ["the same job", 1, false], [
      "earlier",
      0,
      false,
    ]]
  ) {
    // A chat, a job that decodes, and a prompt to read.
    const all = turns([
      sequence(10, 200, true),
      sequence(10, 200, false, 20_000, 1),
      sequence(1000, 1, false, 5000, priority as number),
    ]);
    const until = all.findLastIndex(({ prompt }) => prompt > 0);
    // The first step reads all prompts: nothing decodes yet.
    const shared = all.slice(1, until);
    const sum = (of: Turn[]) => of.reduce((total, { ms }) => total + ms, 0);
    const reading = shared.filter(({ prompt }) => prompt > 0);
    const decoding = shared.filter(({ prompt }) => prompt === 0);
    assert(reading.length >= 4, `${name}: ${reading.length} steps read the prompt`);
    const extra = sum(reading) - 10 * reading.length;
    // The first step, of 522 ms, was slow service.
    if (!held) assert(decoding.length <= 3, `${name}: ${decoding.length} steps only decode`);
    else {
      assert(
        Math.abs(sum(decoding) / extra - 1) < 0.2,
        `${name}: ${sum(decoding)} ms of decoding beside ${extra} ms of reading`,
      );
    }
  }
});

Deno.test("Scheduler lets latency work that is served slowly decode between a prompt's chunks", () => {
  const chat = sequence(10, 200, true);
  const all = turns([chat, sequence(2000, 1, false, 5000)], 200);
  const until = all.findLastIndex(({ prompt }) => prompt > 0);
  const between = all.slice(2, until).filter(({ prompt }) => prompt === 0).length;
  // 210 ms between tokens would be more than 80: one or two steps of 10 ms after each of them bring the mean there.
  assert(between >= 8, `${between} steps only decode`);
});

Deno.test("Scheduler reads in longer steps while only throughput work decodes, and in the longest while nothing does", () => {
  const bulk = () => [sequence(10, 100, false), sequence(2000, 1, false, 5000)];
  const tokens = (all: Turn[]) => all.map(({ prompt, decodes }) => prompt + decodes);
  assertEquals(tokens(turns(bulk())).slice(0, 4), [512, 122, 122, 122]);
  const watched = tokens(turns([sequence(10, 100, true, 20_000), ...bulk()]));
  assertEquals([watched[0], Math.max(...watched.slice(1))], [512, 61]);
});

Deno.test("Scheduler holds no prompt of latency work, and none of throughput work among its own kind", () => {
  for (const [first, second] of [[true, true], [false, false], [false, true]]) {
    const all = turns([sequence(10, 100, first), sequence(2000, 1, second, 5000)]);
    const until = all.findLastIndex(({ prompt }) => prompt > 0);
    assert(all.slice(0, until).every(({ prompt }) => prompt > 0), `${first}, ${second}`);
  }
});
