import { z } from "@hono/zod-openapi";
import type { ChatMessage } from "../engine/types.ts";
import { responseFormatSchema } from "./constraint_schema.ts";
import { generationFields } from "./generation_schema.ts";
import { chatLogprobsFields, chatLogprobsSchema } from "./logprobs_schema.ts";
import { finishReasonSchema, timingsSchema, usageSchema } from "./schema_common.ts";
import { unsupportedInChat } from "./unsupported.ts";

const messageSchema = z.object({
  role: z.enum(["system", "developer", "user", "assistant"]).openapi({
    description: "`developer` is read as `system`.",
  }),
  content: z.union([
    z.string(),
    z.array(z.object({ type: z.literal("text"), text: z.string() })),
    z.null(),
  ], {
    error: "expected a string or an array of text parts; other kinds of part are not supported",
  }),
  name: z.string().optional(),
}).openapi("ChatMessage");

/** Body of `POST /v1/chat/completions`. */
export const chatRequestSchema = z.object({
  messages: z.array(messageSchema).min(1),
  ...generationFields,
  max_completion_tokens: z.int().min(1).nullish().openapi({
    description: "At most this many tokens. Default: to the end of the context.",
  }),
  max_tokens: generationFields.max_tokens.openapi({
    description: "Older name of `max_completion_tokens`.",
  }),
  ...chatLogprobsFields,
  response_format: responseFormatSchema.nullish(),
  ...unsupportedInChat,
}).openapi("ChatCompletionRequest");

/** A validated body of `POST /v1/chat/completions`. */
export type ChatRequest = z.infer<typeof chatRequestSchema>;

/** Messages as a chat template sees them. */
export function toChatMessages(messages: ChatRequest["messages"]): ChatMessage[] {
  return messages.map(({ role, content, name }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string"
      ? content
      : (content ?? []).map((part) => part.text).join(""),
    ...(name === undefined ? {} : { name }),
  }));
}

const headFields = { id: z.string(), created: z.int(), model: z.string() };

/** Answer of `POST /v1/chat/completions`. */
export const chatCompletionSchema = z.object({
  ...headFields,
  object: z.literal("chat.completion"),
  choices: z.array(z.object({
    index: z.int(),
    message: z.object({
      role: z.literal("assistant"),
      content: z.string(),
      refusal: z.null(),
    }),
    logprobs: chatLogprobsSchema.nullable(),
    finish_reason: finishReasonSchema,
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
    delta: z.object({ role: z.literal("assistant").optional(), content: z.string().optional() }),
    logprobs: chatLogprobsSchema.nullable(),
    finish_reason: finishReasonSchema.nullable(),
  })),
  usage: usageSchema.nullish(),
  timings: timingsSchema.optional(),
}).openapi("ChatCompletionChunk");
