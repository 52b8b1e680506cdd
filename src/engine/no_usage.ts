import type { GenerateUsage } from "./types.ts";

/** Counts of a generation that was cancelled before it began. */
export const noUsage: Readonly<GenerateUsage> = {
  promptTokens: 0,
  completionTokens: 0,
  cachedTokens: 0,
  ttftMs: 0,
  decodeMs: 0,
};
