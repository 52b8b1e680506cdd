import { createRoute, z } from "@hono/zod-openapi";
import { ApiError } from "./api_error.ts";
import type { BackgroundResponses } from "./background_responses.ts";
import type { AppRouter } from "./context.ts";
import { errorResponses } from "./error_responses.ts";
import { inputItemsQuerySchema, inputItemsSchema } from "./response_input_item.ts";
import type { ResponseStore, StoredResponse } from "./response_store.ts";
import { responseSchema } from "./responses_schema.ts";

/** A response of a tenant's, under way or stored. */
export type FindResponse = (tenant: string, id: string) => StoredResponse | undefined;

const tags = ["Text"];
const params = z.object({ id: z.string() });
const errors = {
  ...errorResponses,
  404: { ...errorResponses[404], description: "No such response." },
};

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
      description: "The response as it was answered, or as it stands in the background.",
      content: { "application/json": { schema: responseSchema } },
    },
    ...errors,
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
    ...errors,
  },
});

const inputItemsRoute = createRoute({
  method: "get",
  path: "/v1/responses/{id}/input_items",
  tags,
  summary: "List what a stored response was made of",
  request: { params, query: inputItemsQuerySchema },
  responses: {
    200: {
      description:
        "Its input, after those of the responses that it goes on with and their answers.",
      content: { "application/json": { schema: inputItemsSchema } },
    },
    ...errors,
  },
});

const cancelRoute = createRoute({
  method: "post",
  path: "/v1/responses/{id}/cancel",
  tags,
  summary: "Stop a response that is made in the background",
  request: { params },
  responses: {
    200: {
      description: "The response, cancelled with what there was of it, or as it had ended before.",
      content: { "application/json": { schema: responseSchema } },
    },
    ...errors,
  },
});

/** What is stored by `/v1/responses` or under way there: read, listed, cancelled, forgotten. */
export function storedResponsesRoutes(
  router: AppRouter,
  { store, background, known }: {
    store: ResponseStore;
    background: BackgroundResponses;
    known: FindResponse;
  },
): void {
  const find: (...of: Parameters<FindResponse>) => StoredResponse = (tenant, id) => {
    const stored = known(tenant, id);
    if (stored !== undefined) return stored;
    throw new ApiError(`no response ${JSON.stringify(id.slice(0, 80))} is stored here`, {
      status: 404,
      type: "invalid_request_error",
      code: "response_not_found",
    });
  };
  router.openapi(readRoute, (c) => {
    const { id } = c.req.valid("param");
    return c.json(find(c.get("tenant"), id).response, 200);
  });
  router.openapi(deleteRoute, (c) => {
    const { id } = c.req.valid("param");
    const tenant = c.get("tenant");
    find(tenant, id);
    background.forget(tenant, id);
    store.delete(tenant, id);
    return c.json({ id, object: "response" as const, deleted: true as const }, 200);
  });
  router.openapi(inputItemsRoute, (c) => {
    const { id } = c.req.valid("param");
    const { limit, order, after } = c.req.valid("query");
    const { input } = find(c.get("tenant"), id);
    const items = order === "asc" ? input : input.toReversed();
    const at = after === undefined ? -1 : items.findIndex((item) => item.id === after);
    if (after !== undefined && at < 0) {
      const shown = JSON.stringify(after.slice(0, 80));
      throw ApiError.invalid(`after: ${shown} is no item of the response's input`, "after");
    }
    const data = items.slice(at + 1, at + 1 + limit);
    return c.json({
      object: "list" as const,
      data,
      first_id: data.at(0)?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: at + 1 + limit < items.length,
    }, 200);
  });
  router.openapi(cancelRoute, (c) => {
    const { id } = c.req.valid("param");
    const tenant = c.get("tenant");
    if (!find(tenant, id).response.background) {
      throw ApiError.invalid(
        "Cannot cancel a synchronous response: only one made with background: true can be cancelled",
        undefined,
        "response_not_in_background",
      );
    }
    background.cancel(tenant, id);
    return c.json(find(tenant, id).response, 200);
  });
}
