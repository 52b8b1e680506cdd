import { createRoute } from "@hono/zod-openapi";
import type { Prompt } from "../engine/types.ts";
import {
  type CompletionRequest,
  completionRequestSchema,
  completionSchema,
  defaultCompletionTokens,
} from "./completions_schema.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { ApiError } from "./api_error.ts";
import { errorResponses } from "./error_responses.ts";
import { answerGeneration, type WireShape } from "./generation_answer.ts";
import { toGenerateRequest } from "./generation_schema.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { wireUsage } from "./wire_usage.ts";

const route = createRoute({
  method: "post",
  path: "/v1/completions",
  tags: ["Text"],
  summary: "Continue a text",
  request: {
    body: { required: true, content: { "application/json": { schema: completionRequestSchema } } },
  },
  responses: {
    200: {
      description: "The continuation; with `stream`, server-sent events that end with `[DONE]`.",
      content: {
        "application/json": { schema: completionSchema },
        "text/event-stream": { schema: completionSchema },
      },
    },
    ...errorResponses,
  },
});

/** `POST /v1/completions`: OpenAI's text completion. */
export function completionsRoutes(router: AppRouter, context: ServerContext): void {
  const { desk, options } = context;
  router.openapi(route, async (c) => {
    const body = c.req.valid("json");
    const model = desk.modelName(body.model);
    const prompt = toPrompt(body.prompt);
    const { vocabularySize, contextLength } = await desk.modelInfo(model);
    checkVocabulary(prompt, vocabularySize);
    checkPromptLength(prompt, contextLength, "prompt");
    const request = toGenerateRequest(`cmpl-${crypto.randomUUID()}`, body, prompt, {
      cacheScope: c.get("cacheScope"),
      maxTokens: body.max_tokens ?? defaultCompletionTokens,
    });
    return await answerGeneration(desk, request, shapeOf(request.id, model), {
      stream: body.stream ?? false,
      includeUsage: body.stream_options?.include_usage ?? false,
      signal: c.req.raw.signal,
      pingMs: options.pingMs,
      acceptMs: options.acceptMs,
    });
  });
}

function toPrompt(prompt: CompletionRequest["prompt"]): Prompt {
  if (typeof prompt === "string") {
    return { type: "parts", parts: [{ type: "text", text: prompt, special: true }] };
  }
  const [first] = prompt;
  if (first === undefined) throw ApiError.invalid("prompt: expected tokens, got none", "prompt");
  if (typeof first !== "number") return toPrompt(first);
  return { type: "parts", parts: [{ type: "tokens", ids: prompt as number[] }] };
}

function checkVocabulary(prompt: Prompt, size: number): void {
  if (prompt.type !== "parts") return;
  for (const part of prompt.parts) {
    const bad = part.type === "tokens" ? part.ids.findIndex((id) => id >= size) : -1;
    if (part.type === "tokens" && bad >= 0) {
      throw ApiError.invalid(
        `prompt.${bad}: token ${part.ids[bad]}, expected less than the vocabulary's ${size}`,
        "prompt",
      );
    }
  }
}

function shapeOf(id: string, model: string): WireShape {
  const head = {
    id,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model,
  };
  const choice = (text: string, finish_reason: string | null) => ({
    index: 0,
    text,
    logprobs: null,
    finish_reason,
  });
  return {
    delta: (text) => ({ ...head, choices: [choice(text, null)] }),
    end: (reason) => ({ ...head, choices: [choice("", reason)] }),
    usage: (usage) => ({ ...head, choices: [], ...wireUsage(usage) }),
    whole: (text, reason, usage) => ({
      ...head,
      choices: [choice(text, reason)],
      ...wireUsage(usage),
    }),
  };
}
