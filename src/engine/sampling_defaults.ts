import type { SamplingOptions } from "./types.ts";

/** Greedy decoding. */
export const greedy: Readonly<SamplingOptions> = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0,
};
