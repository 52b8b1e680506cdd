/**
 * Schemas that several surfaces share. They validate requests and are what `/openapi.json` is made from.
 * @module
 */

import { z } from "@hono/zod-openapi";

/** OpenAI's error body. */
export const errorSchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
}).openapi("Error");

/** Counts of one generation. */
export const usageSchema = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({
    cached_tokens: z.int().openapi({
      description: "Prompt tokens whose keys and values were found in the prefix cache.",
    }),
  }),
}).openapi("Usage");

/** What this server adds to a finished generation. */
export const timingsSchema = z.object({
  ttft_ms: z.number().openapi({ description: "From submission to the first token." }),
  decode_ms: z.number().openapi({ description: "From the first token to the last." }),
  tokens_per_s: z.number().nullable().openapi({
    description: "Tokens after the first, by `decode_ms`; null when there were fewer than two.",
  }),
}).openapi("Timings");

/** Why a choice ended. */
export const finishReasonSchema = z.enum(["stop", "length"]);

/** Token ids. One loop, not a schema per element: a prompt may have a million. */
export const tokenIdsSchema = z.custom<number[]>(
  (value) => Array.isArray(value) && value.every((id) => Number.isSafeInteger(id) && id >= 0),
  "expected an array of non-negative integers",
).openapi({ type: "array", items: { type: "integer", minimum: 0 } });

/** A text or token ids, or up to `most` of either. */
export function promptsSchema(most: number): z.ZodUnion<
  [z.ZodString, typeof tokenIdsSchema, z.ZodArray<z.ZodString>, z.ZodArray<typeof tokenIdsSchema>]
> {
  return z.union([
    z.string(),
    tokenIdsSchema,
    z.array(z.string()).min(1).max(most),
    z.array(tokenIdsSchema).min(1).max(most),
  ], {
    error: `expected a string, an array of token ids, or an array of 1 to ${most} of either kind`,
  });
}

/** A model's name; the default model when absent. */
export const modelSchema = z.string().nullish().openapi({
  description: "Name of a served model (a model file's stem); the first one when absent.",
});
