import { assert, assertEquals } from "@std/assert";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { Scheduler } from "../../src/engine/scheduler.ts";
import type { SchedulerOptions } from "../../src/engine/scheduler_options.ts";
import { Sequence, type SequenceOptions } from "../../src/engine/sequence.ts";
import type { StepBatch } from "../../src/engine/step.ts";
import { FakeRunner, type FakeRunnerOptions } from "./fake_runner.ts";

let names = 0;

/** A sequence of `prompt`, or of that many tokens counted from 0. */
export function sequence(
  prompt: number | number[],
  options: Partial<SequenceOptions> = {},
): Sequence {
  const ids = typeof prompt === "number" ? Array.from({ length: prompt }, (_, i) => i) : prompt;
  return new Sequence({
    id: `s${names++}`,
    prompt: ids,
    maxTokens: 4,
    sampling: greedy,
    ...options,
  });
}

/** Drives a scheduler against a fake runner, one step of the pipeline at a time. */
export class Bench {
  readonly runner: FakeRunner;
  readonly scheduler: Scheduler;
  readonly batches: StepBatch[] = [];
  now = 0;
  /** Milliseconds that a step takes for each prompt token in it, beside its first. */
  tokenMs = 0;
  #read = 0;

  constructor(runner: FakeRunnerOptions = {}, options: Partial<SchedulerOptions> = {}) {
    this.runner = new FakeRunner(runner);
    this.scheduler = new Scheduler(this.runner, options);
  }

  add(...sequences: Sequence[]): void {
    for (const one of sequences) this.scheduler.add(one, this.now);
  }

  /** Fills the pipeline and collects one step; false when there is nothing to do. */
  step(): boolean {
    this.now += 1 + this.tokenMs * this.#read;
    this.#read = 0;
    while (this.scheduler.stepsInFlight < this.runner.pipelineDepth) {
      const batch = this.scheduler.schedule(this.now);
      if (!batch) break;
      this.runner.submit(batch);
      for (const { tokens } of batch.rows) this.#read += tokens.length;
      this.batches.push({ rows: batch.rows.map((row) => ({ ...row })), copies: batch.copies });
    }
    if (this.scheduler.stepsInFlight === 0) {
      assertEquals(this.scheduler.waiting + this.scheduler.running, 0, "work is left but no step");
      return false;
    }
    for (const { sequence } of this.scheduler.collect(this.runner.collect())) {
      if (sequence.generated >= sequence.maxTokens) this.scheduler.finish(sequence, this.now);
    }
    return true;
  }

  /** Runs until nothing is left to do, and checks that everything is back. */
  drain(limit = 5000): void {
    let steps = 0;
    while (this.step()) assert(++steps < limit, `no end after ${limit} steps`);
    assertEquals(this.scheduler.waiting, 0);
    assertEquals(this.scheduler.running, 0);
    assertEquals(this.scheduler.blocks.pagesUsed, 0);
    assertEquals(this.scheduler.check(), []);
  }
}

/** The tokens that a sequence was given. */
export function generated(one: Sequence): number[] {
  return one.ids.slice(one.promptTokens);
}
