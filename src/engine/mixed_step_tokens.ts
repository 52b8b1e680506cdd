import type { AdapterClass } from "../gpu/adapter_class.ts";

/**
 * Tokens of a step in which rows decode and prompts are read. On a processor 64, what its tallest tile takes: measured with a model of 14 M
 * parameters on 2 cores, in milliseconds of a core, a step of 8 decoding rows takes 11.5, and 39.6, 73.5, 145 with 64, 128, 256 tokens in
 * all: prompts cost 0.50, 0.52, 0.54 a token, and decoding goes on two or four times as often. Without rows that decode a prompt's token
 * costs 0.55. Native layers take 3.6 ms for such a step of 8 rows, and with a prompt's 64, 128, 256 tokens beside one row 10, 20, 41 ms: 0.15 a token, whatever their number.
 * On a GPU a step waits for the weights, and 64 tokens would not fill it.
 */
export function mixedStepTokens(adapter: AdapterClass): number {
  return adapter === "software" ? 64 : 128;
}
