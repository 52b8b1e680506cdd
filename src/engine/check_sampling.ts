import { MAX_LOGPROBS } from "../common/max_logprobs.ts";
import type { SamplingOptions } from "./types.ts";

/** Numbers between these; `whole`: integers. */
const ranges = {
  temperature: { from: 0, to: Number.MAX_VALUE, whole: false },
  topK: { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true },
  topP: { from: 0, to: 1, whole: false },
  minP: { from: 0, to: 1, whole: false },
  seed: { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER, whole: true },
} as const;

/**
 * Throws `TypeError` for a temperature below 0, a `topK` that is no integer of at least 0, a `topP` or `minP` outside [0, 1], a seed that is no
 * integer, a penalty that is no finite number of single precision, or a bias that is none or for a token outside the vocabulary.
 */
export function checkSampling(sampling: SamplingOptions, vocabulary: number): void {
  for (const [name, { from, to, whole }] of Object.entries(ranges)) {
    const value = sampling[name as keyof typeof ranges];
    if (!isBetween(value, from, to) || whole && !Number.isInteger(value)) {
      const kind = whole ? "an integer" : "a number";
      const range = to === 1 ? "in [0, 1]" : from === 0 ? "of at least 0" : "of at most 53 bits";
      throw new TypeError(`${name} is ${value}, expected ${kind} ${range}`);
    }
  }
  for (const name of ["presencePenalty", "frequencyPenalty"] as const) {
    const value = sampling[name];
    // The GPU's numbers are of single precision: an infinite penalty of what was never generated would be none.
    const single = Number.isFinite(value) && Number.isFinite(Math.fround(value!));
    if (value !== undefined && !single) {
      throw new TypeError(`${name} is ${value}, expected a number of single precision`);
    }
  }
  for (const [id, bias] of Object.entries(sampling.logitBias ?? {})) {
    const token = Number(id);
    if (!Number.isInteger(token) || token < 0 || token >= vocabulary) {
      throw new TypeError(`logitBias: token ${id}, expected an integer below ${vocabulary}`);
    }
    if (!isBetween(bias, -65504, 65504)) {
      throw new TypeError(`logitBias of token ${id} is ${bias}, expected a number within ±65504`);
    }
  }
}

/** False also for what compares as a number and is none: JSON has `null` for `NaN`. */
function isBetween(value: unknown, from: number, to: number): boolean {
  return typeof value === "number" && value >= from && value <= to;
}

/** Throws `TypeError` for a number of likeliest tokens that is no integer or out of range; absent is none. */
export function checkLogprobs(logprobs: number | undefined): void {
  if (logprobs === undefined) return;
  if (!Number.isInteger(logprobs) || logprobs < 0 || logprobs > MAX_LOGPROBS) {
    throw new TypeError(`logprobs is ${logprobs}, expected an integer in [0, ${MAX_LOGPROBS}]`);
  }
}
