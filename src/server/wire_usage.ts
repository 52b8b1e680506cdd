import type { z } from "@hono/zod-openapi";
import type { GenerateUsage } from "../engine/types.ts";
import type { timingsSchema, usageSchema } from "./schema_common.ts";

/** The counts as OpenAI's API writes them, and this server's times. */
export function wireUsage(
  usage: GenerateUsage,
): { usage: z.infer<typeof usageSchema>; timings: z.infer<typeof timingsSchema> } {
  const after = usage.completionTokens - 1;
  return {
    usage: {
      prompt_tokens: usage.promptTokens,
      completion_tokens: usage.completionTokens,
      total_tokens: usage.promptTokens + usage.completionTokens,
      prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    },
    timings: {
      ttft_ms: round(usage.ttftMs),
      decode_ms: round(usage.decodeMs),
      tokens_per_s: after > 0 && usage.decodeMs > 0 ? round(after / usage.decodeMs * 1000) : null,
    },
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
