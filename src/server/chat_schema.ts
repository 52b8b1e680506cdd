import { z } from "@hono/zod-openapi";
import { responseFormatSchema } from "./constraint_schema.ts";
import { generationFields } from "./generation_schema.ts";
import { chatLogprobsFields, chatLogprobsSchema } from "./logprobs_schema.ts";
import { timingsSchema, usageSchema } from "./schema_common.ts";
import { toolCallDeltaSchema, toolCallSchema, toolFields } from "./tool_schema.ts";
import { untilFault } from "./until_fault.ts";
import { bestOfCheck, unsupportedInChat, unsupportedInMessages } from "./unsupported.ts";

const partSchema = z.union([
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("refusal"), refusal: z.string() }),
]);

const messageSchema = z.object({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]).openapi({
    description: "`developer` is read as `system`; `tool` is the result of a call.",
  }),
  content: z.union([
    z.string(),
    untilFault(partSchema, z.array(partSchema)),
    z.null(),
  ], {
    error: "expected a string or an array of text parts; other kinds of part are not supported",
  }).optional(),
  name: z.string().nullish(),
  tool_calls: untilFault(toolCallSchema, z.array(toolCallSchema)).nullish().openapi({
    description: "Of an assistant: the calls that it asked for.",
  }),
  tool_call_id: z.string().nullish().openapi({
    description: "Of a result: the call of the assistant's message before it.",
  }),
  ...unsupportedInMessages,
}).openapi("ChatMessage");

/** Body of `POST /v1/chat/completions`. */
export const chatRequestSchema = z.object({
  messages: untilFault(messageSchema, z.array(messageSchema).min(1)),
  ...generationFields,
  max_completion_tokens: z.int().min(1).nullish().openapi({
    description: "At most this many tokens. Default: to the end of the context.",
  }),
  max_tokens: generationFields.max_tokens.openapi({
    description: "Older name of `max_completion_tokens`.",
  }),
  ...chatLogprobsFields,
  response_format: responseFormatSchema.nullish(),
  ...toolFields,
  ...unsupportedInChat,
}).refine(...bestOfCheck).openapi("ChatCompletionRequest");

/** A validated body of `POST /v1/chat/completions`. */
export type ChatRequest = z.infer<typeof chatRequestSchema>;

/** Why a choice ended. */
const chatFinishReasonSchema = z.enum(["stop", "length", "tool_calls"]);

const headFields = { id: z.string(), created: z.int(), model: z.string() };

/** Answer of `POST /v1/chat/completions`. */
export const chatCompletionSchema = z.object({
  ...headFields,
  object: z.literal("chat.completion"),
  choices: z.array(z.object({
    index: z.int(),
    message: z.object({
      role: z.literal("assistant"),
      content: z.string().nullable().openapi({
        description: "Null where there are only calls.",
      }),
      refusal: z.null(),
      tool_calls: z.array(toolCallSchema).optional(),
    }),
    logprobs: chatLogprobsSchema.nullable(),
    finish_reason: chatFinishReasonSchema,
  })),
  usage: usageSchema,
  timings: timingsSchema.optional(),
}).openapi("ChatCompletion");

/** Each event of the stream of `POST /v1/chat/completions`. */
export const chatChunkSchema = z.object({
  ...headFields,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(z.object({
    index: z.int(),
    delta: z.object({
      role: z.literal("assistant").optional(),
      content: z.string().nullish(),
      tool_calls: z.array(toolCallDeltaSchema).optional(),
    }),
    logprobs: chatLogprobsSchema.nullable(),
    finish_reason: chatFinishReasonSchema.nullable(),
  })),
  usage: usageSchema.nullish(),
  timings: timingsSchema.optional(),
}).openapi("ChatCompletionChunk");
