/**
 * The nouns of a bench, and the side-by-side timer. A bench is one file that exports `bench`; it reports rows through
 * its context and throws when its own answers are wrong, so that a fast wrong kernel never makes a row.
 * @module
 */

import { median } from "../../src/common/math.ts";

/** One measurement. `bench/case/metric` is its name; names are a contract between releases. */
export interface BenchRow {
  bench: string;
  /** What was measured; lengths are written `4k`, `128k`, `1m`. */
  case: string;
  /** What the number is, such as `gflops`, `median_ms`, `tokens_per_s`. */
  metric: string;
  /** The judged number. */
  value: number;
  unit: string;
  /** Name of what the value is compared with, or null. */
  baseline: string | null;
  /** Value against the baseline, taken in the same run; above 1 is better. Null without a baseline. */
  ratio: number | null;
  /** The hardware, for people. */
  device: string;
  /** ISO 8601 time of the measurement. */
  date: string;
}

/** What a bench says of one measurement; the harness adds the rest of the row. */
export interface BenchReport {
  case: string;
  metric: string;
  value: number;
  unit: string;
  baseline?: string;
  ratio?: number;
  /** Overrides the context's device, for benches that run elsewhere (a CPU index). */
  device?: string;
}

/** What a bench is given. */
export interface BenchContext {
  /** Also run the rows that take longer than the 5 minutes a default bench may take. */
  readonly full: boolean;
  /** Folder of real material, absent on most machines: without it, leave those rows out. */
  readonly data?: string;
  /** Folder of a real text's queries, keys and values (`dump:qk`), absent on most machines. */
  readonly dump?: string;
  /** Description of the GPU adapter, or of the processor when there is none. */
  readonly device: string;
  /** Adds a row. Throws `RangeError` for a value that is not finite. */
  report(row: BenchReport): void;
  /** Says something for people, on standard error. */
  note(text: string): void;
}

/** A group of measurements, run by name. */
export interface Bench {
  /** First part of its rows' names. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  run(context: BenchContext): Promise<void>;
}

/** One way of doing the same thing. `run` does the whole work, and waits for it. */
export interface Candidate {
  name: string;
  run(): unknown | Promise<unknown>;
}

/** Times of one candidate, in milliseconds a run. */
export interface RaceResult {
  name: string;
  medianMs: number;
  minMs: number;
  timesMs: number[];
  /** The first candidate's median over this one's: above 1 is faster than the first. */
  speedup: number;
}

/** How long a race runs. */
export interface RaceOptions {
  /** Measured rounds; each runs every candidate once, in an order that rotates. Default 7. */
  rounds?: number;
  /** Unmeasured rounds before. Default 1. */
  warmup?: number;
  /** Runs of a candidate within a round, for work too short to time alone. Default 1. */
  repeats?: number;
}

/**
 * Times candidates side by side: every round runs each once, in rotating order, so that a machine that slows down
 * slows all of them; the judged number is the median over rounds.
 */
export async function race(
  candidates: readonly Candidate[],
  options: RaceOptions = {},
): Promise<RaceResult[]> {
  const { rounds = 7, warmup = 1, repeats = 1 } = options;
  if (candidates.length === 0) throw new TypeError("race: no candidates");
  if (rounds < 1 || repeats < 1) {
    throw new RangeError(`race: rounds ${rounds} and repeats ${repeats} must be at least 1`);
  }
  const times: number[][] = candidates.map(() => []);
  for (let round = -warmup; round < rounds; round++) {
    for (let i = 0; i < candidates.length; i++) {
      const at = (i + round + warmup) % candidates.length;
      const start = performance.now();
      for (let n = 0; n < repeats; n++) await candidates[at].run();
      const elapsed = (performance.now() - start) / repeats;
      if (round >= 0) times[at].push(elapsed);
    }
  }
  const first = median(times[0]);
  return candidates.map(({ name }, i) => ({
    name,
    medianMs: median(times[i]),
    minMs: Math.min(...times[i]),
    timesMs: times[i],
    speedup: first / median(times[i]),
  }));
}
