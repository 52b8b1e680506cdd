import { createRoute } from "@hono/zod-openapi";
import { ApiError } from "./api_error.ts";
import { BackgroundResponses } from "./background_responses.ts";
import { checkDepth } from "./check_depth.ts";
import { toConstraint } from "./constraint_schema.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { errorResponses } from "./error_responses.ts";
import { answerGenerations } from "./generation_answer.ts";
import { checkLogitBias, toGenerateRequest } from "./generation_schema.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { asChatFields, inResponseFields } from "./response_fields.ts";
import { toChat } from "./response_chat.ts";
import { readInput } from "./response_input.ts";
import type { InputItem } from "./response_input_item.ts";
import { responseItemSchema } from "./response_item.ts";
import { responseShape } from "./response_shape.ts";
import { ResponseStore } from "./response_store.ts";
import { responseEventSchema, responseRequestSchema, responseSchema } from "./responses_schema.ts";
import { type FindResponse, storedResponsesRoutes } from "./stored_responses_routes.ts";
import { toToolUse } from "./tool_use.ts";
import { wireId } from "./wire_id.ts";

/** Characters of stored responses at most: some hundreds of long conversations. */
const storeCharacters = 64 << 20;

const tags = ["Text"];

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

/** `/v1/responses`: OpenAI's Responses, kept in memory for whoever goes on with them. */
export function responsesRoutes(router: AppRouter, context: ServerContext): void {
  const { desk, options } = context;
  const store = new ResponseStore(storeCharacters);
  const background = new BackgroundResponses(store);
  const known: FindResponse = (tenant, id) => background.get(tenant, id) ?? store.get(tenant, id);
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
    const input = readInput(body.input, {
      before: before(known, tenant, body.previous_response_id),
      stored: (id) => store.item(tenant, id),
    });
    const messages = toChat(input);
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
        store.put(tenant, { response, input });
      },
    });
    const blamed = { prompt: "input", constraint: use ? "tools" : "text.format" };
    if (body.background) {
      background.checkRoom(tenant);
      const generation = desk.submit(request, blamed);
      return c.json(background.start(id, { tenant, input, shape, generation }), 200);
    }
    return await answerGenerations(desk, [request], shape, {
      choicesPerPrompt: 1,
      blamed,
      stream: body.stream ?? false,
      // The last event carries the counts.
      includeUsage: true,
      signal: c.req.raw.signal,
      pingMs: options.pingMs,
      acceptMs: options.acceptMs,
    });
  });
  storedResponsesRoutes(router, { store, background, known });
}

function before(
  known: FindResponse,
  tenant: string,
  id: string | null | undefined,
): readonly InputItem[] {
  if (id === undefined || id === null) return [];
  const stored = known(tenant, id);
  const shown = JSON.stringify(id.slice(0, 80));
  const refused = (why: string) =>
    ApiError.invalid(
      `previous_response_id: ${why}`,
      "previous_response_id",
      "previous_response_not_found",
    );
  if (stored === undefined) throw refused(`no response ${shown} is stored here`);
  const { status, output } = stored.response;
  if (status === "completed" || status === "incomplete") return [...stored.input, ...output];
  throw refused(`response ${shown} is ${status}, expected one that is completed or incomplete`);
}
