import { createRoute } from "@hono/zod-openapi";
import { toChatMessages } from "./chat_messages.ts";
import { chatChunkSchema, chatCompletionSchema, chatRequestSchema } from "./chat_schema.ts";
import { chatShape } from "./chat_shape.ts";
import { constraintField } from "./constraint_schema.ts";
import { requestsOf } from "./choices.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { ApiError } from "./api_error.ts";
import { errorResponses } from "./error_responses.ts";
import { answerGenerations } from "./generation_answer.ts";
import { checkLogitBias, toGenerateRequest } from "./generation_schema.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { toToolUse } from "./tool_use.ts";

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
    const info = await desk.modelInfo(model);
    const { hasChatTemplate, contextLength, vocabularySize } = info;
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
    const use = toToolUse(body, info);
    const prompt = {
      type: "chat" as const,
      messages: toChatMessages(body.messages),
      ...(use && { tools: use.tools }),
    };
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
          ...(use && { constraint: use.constraint, visible: use.visible }),
        }),
    );
    return await answerGenerations(desk, requests, chatShape(id, model, use?.splitter), {
      choicesPerPrompt,
      blamed: { constraint: use ? "tools" : constraintField(body) },
      stream: body.stream ?? false,
      includeUsage: body.stream_options?.include_usage ?? false,
      signal: c.req.raw.signal,
      pingMs: options.pingMs,
      acceptMs: options.acceptMs,
    });
  });
}
