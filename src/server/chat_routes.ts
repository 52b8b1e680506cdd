import { createRoute } from "@hono/zod-openapi";
import {
  chatChunkSchema,
  chatCompletionSchema,
  chatRequestSchema,
  toChatMessages,
} from "./chat_schema.ts";
import { requestsOf } from "./choices.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { ApiError } from "./api_error.ts";
import { errorResponses } from "./error_responses.ts";
import { answerGenerations, type AnswerPiece, type WireShape } from "./generation_answer.ts";
import { checkLogitBias, toGenerateRequest } from "./generation_schema.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { chatLogprobs } from "./wire_logprobs.ts";
import { wireUsage } from "./wire_usage.ts";

const route = createRoute({
  method: "post",
  path: "/v1/chat/completions",
  tags: ["Text"],
  summary: "Answer a chat",
  request: {
    body: { required: true, content: { "application/json": { schema: chatRequestSchema } } },
  },
  responses: {
    200: {
      description: "The answer; with `stream`, server-sent events that end with `[DONE]`.",
      content: {
        "application/json": { schema: chatCompletionSchema },
        "text/event-stream": { schema: chatChunkSchema },
      },
    },
    ...errorResponses,
  },
});

/** `POST /v1/chat/completions`: OpenAI's chat completion. */
export function chatRoutes(router: AppRouter, context: ServerContext): void {
  const { desk, options } = context;
  router.openapi(route, async (c) => {
    const body = c.req.valid("json");
    const model = desk.modelName(body.model);
    const { hasChatTemplate, contextLength, vocabularySize } = await desk.modelInfo(model);
    if (!hasChatTemplate) {
      throw ApiError.invalid(
        `model "${model}" has no chat template; use /v1/completions`,
        "messages",
        "no_chat_template",
      );
    }
    checkLogitBias(body, vocabularySize);
    if (body.top_logprobs && !body.logprobs) {
      throw ApiError.invalid(
        `top_logprobs is ${body.top_logprobs}, expected \`logprobs: true\` beside it`,
        "top_logprobs",
      );
    }
    const prompt = { type: "chat" as const, messages: toChatMessages(body.messages) };
    checkPromptLength(prompt, contextLength, "messages");
    const id = `chatcmpl-${crypto.randomUUID()}`;
    const choicesPerPrompt = body.n ?? 1;
    const requests = requestsOf(
      [prompt],
      choicesPerPrompt,
      (prompt) =>
        toGenerateRequest(id, body, prompt, {
          cacheScope: c.get("cacheScope"),
          maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
          logprobs: body.logprobs ? body.top_logprobs ?? 0 : undefined,
        }),
    );
    return await answerGenerations(desk, requests, shapeOf(id, model), {
      choicesPerPrompt,
      stream: body.stream ?? false,
      includeUsage: body.stream_options?.include_usage ?? false,
      signal: c.req.raw.signal,
      pingMs: options.pingMs,
      acceptMs: options.acceptMs,
    });
  });
}

function shapeOf(id: string, model: string): WireShape {
  const head = { id, created: Math.floor(Date.now() / 1000), model };
  const chunk = (
    index: number,
    delta: { role?: string; content?: string },
    finish_reason: string | null,
    logprobs?: AnswerPiece["logprobs"],
  ) => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{
      index,
      delta,
      logprobs: logprobs ? chatLogprobs(logprobs) : null,
      finish_reason,
    }],
  });
  return {
    opening: (index) => chunk(index, { role: "assistant", content: "" }, null),
    delta: ({ text, logprobs }, index) => chunk(index, { content: text }, null, logprobs),
    end: (reason, index) => chunk(index, {}, reason),
    usage: (usage) => ({
      ...head,
      object: "chat.completion.chunk",
      choices: [],
      ...wireUsage(usage),
    }),
    whole: (answers, usage) => ({
      ...head,
      object: "chat.completion",
      choices: answers.map(({ text, logprobs, reason }, index) => ({
        index,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: logprobs ? chatLogprobs(logprobs) : null,
        finish_reason: reason,
      })),
      ...wireUsage(usage),
    }),
  };
}
