import { assert, assertEquals } from "@std/assert";
import { PrefillPace } from "../../src/engine/prefill_pace.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { Scheduler } from "../../src/engine/scheduler.ts";
import { Sequence } from "../../src/engine/sequence.ts";
import { FakeRunner } from "../support/fake_runner.ts";

/** Milliseconds of decode and of mixed steps, over `steps` steps in which a chat decodes and a prompt is there to read. */
function run(decodeMs: number, mixedMs: number, steps: number): { decode: number; mixed: number } {
  const pace = new PrefillPace();
  const count = { decode: 0, mixed: 0 };
  let now = 0;
  for (let i = 0; i < steps; i++) {
    const hold = pace.hold(now, true);
    pace.began(now, hold ? "decode" : "throughput_prompts");
    count[hold ? "decode" : "mixed"]++;
    now += hold ? decodeMs : mixedMs;
  }
  return count;
}

Deno.test("PrefillPace: prompts that cost ten decode steps are followed by ten", () => {
  const { decode, mixed } = run(10, 110, 1100);
  // Beside the decode step that it rides on, a mixed step takes 100 ms.
  assert(Math.abs(decode / mixed - 10) < 0.2, `${decode} decode steps for ${mixed} mixed ones`);
});

Deno.test("PrefillPace: prompts that ride along for nothing, or for little, are hardly held back", () => {
  // One step to learn what a decode step takes.
  assertEquals(run(10, 10, 1000), { decode: 1, mixed: 999 });
  const { decode, mixed } = run(10, 11, 1000);
  assert(Math.abs(mixed / decode - 10) < 0.5, `${decode} decode steps for ${mixed} mixed ones`);
});

Deno.test("PrefillPace: nothing is held back where no latency work decodes, nor for time that nothing ran", () => {
  const pace = new PrefillPace();
  pace.began(0, "throughput_prompts");
  assert(!pace.hold(1000, false), "no latency work decodes");
  pace.began(1000, "throughput_prompts");
  pace.idle();
  assert(!pace.hold(60_000, true), "the engine was idle");
  pace.began(60_000, "latency_prompts");
  assert(!pace.hold(60_500, true), "latency work's own prompt is no debt of others");
});

interface Turn {
  ms: number;
  decodes: number;
  prompt: number;
}

/** Runs a scheduler whose steps take 10 ms and 1 ms for each prompt token. */
function turns(...sequences: Sequence[]): Turn[] {
  const runner = new FakeRunner({ maxBatchTokens: 512 });
  const scheduler = new Scheduler(runner, { mixedStepTokens: 101 });
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

function sequence(prompt: number, maxTokens: number, latency: boolean, first = 0): Sequence {
  return new Sequence({
    id: crypto.randomUUID(),
    prompt: Array.from({ length: prompt }, (_, i) => first + i),
    maxTokens,
    sampling: greedy,
    criteria: latency ? "latency" : "throughput",
  });
}

Deno.test("Scheduler shares the time between decoding latency work and prompts of throughput work", () => {
  const all = turns(sequence(10, 100, true), sequence(1000, 1, false, 5000));
  const until = all.findLastIndex(({ prompt }) => prompt > 0);
  // The first step reads both prompts: nothing decodes yet.
  const shared = all.slice(1, until);
  const sum = (of: Turn[]) => of.reduce((total, { ms }) => total + ms, 0);
  const reading = shared.filter(({ prompt }) => prompt > 0);
  const decoding = shared.filter(({ prompt }) => prompt === 0);
  assert(reading.length >= 4, `${reading.length} steps read the prompt`);
  const extra = sum(reading) - 10 * reading.length;
  assert(
    Math.abs(sum(decoding) / extra - 1) < 0.2,
    `${sum(decoding)} ms of decoding beside ${extra} ms of reading`,
  );
  // No step more than without: each of the chat's tokens but the first takes one.
  assertEquals(all.length, 100);
});

Deno.test("Scheduler holds no prompt of latency work, and none of throughput work among its own kind", () => {
  for (const [first, second] of [[true, true], [false, false], [false, true]]) {
    const all = turns(sequence(10, 100, first), sequence(1000, 1, second, 5000));
    const until = all.findLastIndex(({ prompt }) => prompt > 0);
    assert(all.slice(0, until).every(({ prompt }) => prompt > 0), `${first}, ${second}`);
  }
});
