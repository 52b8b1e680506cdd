import { MAX_LOGPROBS } from "../common/max_logprobs.ts";
import type { SamplingOptions } from "./types.ts";

/** Throws `TypeError` for a penalty that is no finite number, or a bias that is none or for a token outside the vocabulary. */
export function checkSampling(sampling: SamplingOptions, vocabulary: number): void {
  for (const name of ["presencePenalty", "frequencyPenalty"] as const) {
    const value = sampling[name] ?? 0;
    if (!Number.isFinite(value)) {
      throw new TypeError(`${name} is ${value}, expected a finite number`);
    }
  }
  for (const [id, bias] of Object.entries(sampling.logitBias ?? {})) {
    const token = Number(id);
    if (!Number.isInteger(token) || token < 0 || token >= vocabulary) {
      throw new TypeError(`logitBias: token ${id}, expected an integer below ${vocabulary}`);
    }
    if (!(Math.abs(bias) <= 65504)) {
      throw new TypeError(`logitBias of token ${id} is ${bias}, expected a number within ±65504`);
    }
  }
}

/** Throws `TypeError` for a number of likeliest tokens that is no integer or out of range; absent is none. */
export function checkLogprobs(logprobs: number | undefined): void {
  if (logprobs === undefined) return;
  if (!Number.isInteger(logprobs) || logprobs < 0 || logprobs > MAX_LOGPROBS) {
    throw new TypeError(`logprobs is ${logprobs}, expected an integer in [0, ${MAX_LOGPROBS}]`);
  }
}
