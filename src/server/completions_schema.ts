import { z } from "@hono/zod-openapi";
import { responseFormatSchema } from "./constraint_schema.ts";
import { generationFields } from "./generation_schema.ts";
import { completionLogprobsFields, completionLogprobsSchema } from "./logprobs_schema.ts";
import { finishReasonSchema, promptsSchema, timingsSchema, usageSchema } from "./schema_common.ts";
import { bestOfCheck, unsupportedInCompletions } from "./unsupported.ts";

/** Tokens generated when `max_tokens` is absent, as OpenAI documents it for this route. */
export const defaultCompletionTokens = 16;

/** Prompts of one request at most. */
const maxPrompts = 128;

/** Body of `POST /v1/completions`. */
export const completionRequestSchema = z.object({
  prompt: promptsSchema(maxPrompts).openapi({
    description:
      "Text (control tokens written in it are recognised) or token ids, taken as they are; or several of either, each " +
      "answered by the choice of its index.",
  }),
  ...generationFields,
  max_tokens: z.int().min(0).nullish().openapi({
    description:
      `At most this many tokens; 0 only reads the prompt, for what \`echo\` returns of it. Default ${defaultCompletionTokens}.`,
  }),
  ...completionLogprobsFields,
  response_format: responseFormatSchema.nullish(),
  ...unsupportedInCompletions,
}).refine(...bestOfCheck).openapi("CompletionRequest");

/** A validated body of `POST /v1/completions`. */
export type CompletionRequest = z.infer<typeof completionRequestSchema>;

/** Answer of `POST /v1/completions`, and each event of its stream. */
export const completionSchema = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.object({
    index: z.int().nonnegative(),
    text: z.string(),
    logprobs: completionLogprobsSchema.nullable(),
    finish_reason: finishReasonSchema.nullable(),
  })),
  usage: usageSchema.nullish(),
  timings: timingsSchema.optional(),
}).openapi("Completion");
