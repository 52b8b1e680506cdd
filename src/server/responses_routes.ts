import { createRoute, z } from "@hono/zod-openapi";
import type { ChatMessage, ToolCall } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { callArguments } from "./call_arguments.ts";
import { checkDepth } from "./check_depth.ts";
import { toConstraint } from "./constraint_schema.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { errorResponses } from "./error_responses.ts";
import { answerGenerations } from "./generation_answer.ts";
import { checkLogitBias, toGenerateRequest } from "./generation_schema.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { asChatFields, inResponseFields } from "./response_fields.ts";
import { toConversation } from "./response_input.ts";
import { responseItemSchema } from "./response_item.ts";
import { responseShape } from "./response_shape.ts";
import { ResponseStore } from "./response_store.ts";
import {
  type OutputItem,
  responseEventSchema,
  type ResponseObject,
  responseRequestSchema,
  responseSchema,
} from "./responses_schema.ts";
import { toToolUse } from "./tool_use.ts";
import { wireId } from "./wire_id.ts";

/** Characters of stored responses at most: some hundreds of long conversations. */
const storeCharacters = 64 << 20;

const tags = ["Text"];
const params = z.object({ id: z.string() });

const createRouteOf = createRoute({
  method: "post",
  path: "/v1/responses",
  tags,
  summary: "Answer a conversation (OpenAI's Responses)",
  request: {
    body: { required: true, content: { "application/json": { schema: responseRequestSchema } } },
  },
  responses: {
    200: {
      description: "The response; with `stream`, server-sent events that carry their type as name.",
      content: {
        "application/json": { schema: responseSchema },
        "text/event-stream": { schema: responseEventSchema },
      },
    },
    ...errorResponses,
  },
});

const readRoute = createRoute({
  method: "get",
  path: "/v1/responses/{id}",
  tags,
  summary: "Read a stored response",
  request: {
    params,
    query: z.object({
      stream: z.literal("false", "only false is supported: it is read whole").optional(),
    }),
  },
  responses: {
    200: {
      description: "The response as it was answered.",
      content: { "application/json": { schema: responseSchema } },
    },
    ...errorResponses,
  },
});

const deleteRoute = createRoute({
  method: "delete",
  path: "/v1/responses/{id}",
  tags,
  summary: "Forget a stored response",
  request: { params },
  responses: {
    200: {
      description: "It is gone.",
      content: {
        "application/json": {
          schema: z.object({
            id: z.string(),
            object: z.literal("response"),
            deleted: z.literal(true),
          }),
        },
      },
    },
    ...errorResponses,
  },
});

/** `/v1/responses`: OpenAI's Responses, kept in memory for whoever goes on with them. */
export function responsesRoutes(router: AppRouter, context: ServerContext): void {
  const { desk, options } = context;
  const store = new ResponseStore(storeCharacters);
  // The schema of `input` names it by hand.
  router.openAPIRegistry.register("ResponseItem", responseItemSchema);
  router.openapi(createRouteOf, async (c) => {
    const body = c.req.valid("json");
    const tenant = c.get("tenant");
    const model = desk.modelName(body.model);
    const info = await desk.modelInfo(model);
    if (!info.hasChatTemplate) {
      throw ApiError.invalid(
        `model "${model}" has no chat template; use /v1/completions`,
        "input",
        "no_chat_template",
      );
    }
    checkLogitBias(body, info.vocabularySize);
    const format = body.text?.format;
    // Kept and answered as it is, what its grammar leaves out too.
    if (format?.type === "json_schema") checkDepth(format.schema, "text.format.schema");
    const messages = toConversation(body.input, {
      before: before(store, tenant, body.previous_response_id),
      stored: (id) => store.item(tenant, id),
    });
    const { instructions } = body;
    const asked = asChatFields(body);
    const use = inResponseFields(() => toToolUse(asked, info));
    const prompt = {
      type: "chat" as const,
      messages: instructions ? [{ role: "system", content: instructions }, ...messages] : messages,
      ...(use && { tools: use.tools }),
    };
    checkPromptLength(prompt, info.contextLength, "input");
    const scored = body.include?.includes("message.output_text.logprobs") ||
      (body.top_logprobs ?? 0) > 0;
    const id = wireId("resp");
    const request = toGenerateRequest(id, body, prompt, {
      cacheScope: c.get("cacheScope"),
      maxTokens: body.max_output_tokens ?? undefined,
      logprobs: scored ? body.top_logprobs ?? 0 : undefined,
      constraint: use ? use.constraint : inResponseFields(() => toConstraint(asked)),
      ...(use && { visible: use.visible }),
    });
    const shape = responseShape({
      id,
      model,
      body,
      splitter: use?.splitter,
      onEnd: (response) => {
        if (body.store === false) return;
        store.put(tenant, { response, messages: [...messages, ...said(response)] });
      },
    });
    return await answerGenerations(desk, [request], shape, {
      choicesPerPrompt: 1,
      blamed: { prompt: "input", constraint: use ? "tools" : "text.format" },
      stream: body.stream ?? false,
      // The last event carries the counts.
      includeUsage: true,
      signal: c.req.raw.signal,
      pingMs: options.pingMs,
      acceptMs: options.acceptMs,
    });
  });
  router.openapi(readRoute, (c) => {
    const { id } = c.req.valid("param");
    const stored = store.get(c.get("tenant"), id);
    if (stored === undefined) throw notFound(id);
    return c.json(stored.response, 200);
  });
  router.openapi(deleteRoute, (c) => {
    const { id } = c.req.valid("param");
    if (!store.delete(c.get("tenant"), id)) throw notFound(id);
    return c.json({ id, object: "response" as const, deleted: true as const }, 200);
  });
}

function before(
  store: ResponseStore,
  tenant: string,
  id: string | null | undefined,
): readonly ChatMessage[] {
  if (id === undefined || id === null) return [];
  const stored = store.get(tenant, id);
  if (stored !== undefined) return stored.messages;
  throw ApiError.invalid(
    `previous_response_id: no response ${JSON.stringify(id.slice(0, 80))} is stored here`,
    "previous_response_id",
    "previous_response_not_found",
  );
}

/** A response as the conversation goes on with it. A call that could not be sent back, as one that was cut, is none. */
function said({ output }: ResponseObject): ChatMessage[] {
  let content = "";
  const toolCalls: ToolCall[] = [];
  for (const item of output) {
    if (item.type === "message") content += item.content.map(({ text }) => text).join("");
    else toolCalls.push(...readable(item));
  }
  return [{ role: "assistant", content, ...(toolCalls.length > 0 && { toolCalls }) }];
}

function readable(
  { call_id: id, name, arguments: text, status }: Extract<OutputItem, { type: "function_call" }>,
): ToolCall[] {
  if (status !== "completed") return [];
  try {
    return [{ id, name, arguments: callArguments(text, "output") }];
  } catch (error) {
    if (error instanceof ApiError) return [];
    throw error;
  }
}

function notFound(id: string): ApiError {
  return new ApiError(`no response ${JSON.stringify(id.slice(0, 80))} is stored here`, {
    status: 404,
    type: "invalid_request_error",
    code: "response_not_found",
  });
}
