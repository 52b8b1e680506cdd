import { createRoute } from "@hono/zod-openapi";
import {
  completionRequestSchema,
  completionSchema,
  defaultCompletionTokens,
} from "./completions_schema.ts";
import { checkVocabulary } from "./check_vocabulary.ts";
import { constraintField } from "./constraint_schema.ts";
import { requestsOf } from "./choices.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { errorResponses } from "./error_responses.ts";
import { answerGenerations, type AnswerPiece, type WireShape } from "./generation_answer.ts";
import { checkLogitBias, toGenerateRequest } from "./generation_schema.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { toPrompts } from "./prompts.ts";
import { completionLogprobs } from "./wire_logprobs.ts";
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
    const prompts = toPrompts(body.prompt, { field: "prompt", special: true });
    const { vocabularySize, contextLength } = await desk.modelInfo(model);
    checkLogitBias(body, vocabularySize);
    const id = `cmpl-${crypto.randomUUID()}`;
    for (const [index, prompt] of prompts.entries()) {
      const name = prompts.length === 1 ? "prompt" : `prompt.${index}`;
      checkVocabulary(prompt, vocabularySize, name, "prompt");
      checkPromptLength(prompt, contextLength, "prompt");
    }
    const choicesPerPrompt = body.n ?? 1;
    const requests = requestsOf(
      prompts,
      choicesPerPrompt,
      (prompt) =>
        toGenerateRequest(id, body, prompt, {
          cacheScope: c.get("cacheScope"),
          maxTokens: body.max_tokens ?? defaultCompletionTokens,
          logprobs: body.logprobs ?? undefined,
          echo: body.echo ?? undefined,
        }),
    );
    return await answerGenerations(desk, requests, shapeOf(id, model), {
      choicesPerPrompt,
      blamed: { constraint: constraintField(body) },
      stream: body.stream ?? false,
      includeUsage: body.stream_options?.include_usage ?? false,
      signal: c.req.raw.signal,
      pingMs: options.pingMs,
      acceptMs: options.acceptMs,
    });
  });
}

function shapeOf(id: string, model: string): WireShape {
  const head = {
    id,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model,
  };
  const choice = (
    { text, logprobs }: AnswerPiece,
    finish_reason: string | null,
    index: number,
  ) => ({
    index,
    text,
    logprobs: logprobs ? completionLogprobs(logprobs) : null,
    finish_reason,
  });
  return {
    delta: (piece, index) => [{ ...head, choices: [choice(piece, null, index)] }],
    end: (reason, index, end) => [{
      ...head,
      choices: [choice({ text: "", logprobs: end && [end] }, reason, index)],
    }],
    usage: (usage) => ({ ...head, choices: [], ...wireUsage(usage) }),
    whole: (answers, usage) => ({
      ...head,
      choices: answers.map(({ text, logprobs, end, reason }, index) => {
        const all = logprobs && end ? [...logprobs, end] : logprobs;
        return choice({ text, logprobs: all }, reason, index);
      }),
      ...wireUsage(usage),
    }),
  };
}
