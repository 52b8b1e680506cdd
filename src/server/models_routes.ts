import { createRoute, z } from "@hono/zod-openapi";
import type { ModelInfo } from "../engine/types.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { errorResponses } from "./error_responses.ts";

const modelObjectSchema = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  architecture: z.string(),
  context_length: z.int(),
  vocabulary_size: z.int(),
  parameters: z.int(),
  has_chat_template: z.boolean(),
  device: z.string(),
}).openapi("Model");

const listRoute = createRoute({
  method: "get",
  path: "/v1/models",
  tags: ["Models"],
  summary: "The models served",
  responses: {
    200: {
      description: "All of them, the default first.",
      content: {
        "application/json": {
          schema: z.object({ object: z.literal("list"), data: z.array(modelObjectSchema) }),
        },
      },
    },
    401: errorResponses[401],
    403: errorResponses[403],
    503: errorResponses[503],
  },
});

const oneRoute = createRoute({
  method: "get",
  path: "/v1/models/{model}",
  tags: ["Models"],
  summary: "One model",
  request: { params: z.object({ model: z.string() }) },
  responses: {
    200: {
      description: "What it is.",
      content: { "application/json": { schema: modelObjectSchema } },
    },
    401: errorResponses[401],
    403: errorResponses[403],
    404: errorResponses[404],
    503: errorResponses[503],
  },
});

/** `GET /v1/models` and `GET /v1/models/{model}`. */
export function modelsRoutes(router: AppRouter, { desk }: ServerContext): void {
  router.openapi(
    listRoute,
    async (c) =>
      c.json({ object: "list", data: (await desk.models()).map(toObject) } as const, 200),
  );
  router.openapi(
    oneRoute,
    async (c) => c.json(toObject(await desk.modelInfo(c.req.valid("param").model)), 200),
  );
}

function toObject(info: ModelInfo): z.infer<typeof modelObjectSchema> {
  return {
    id: info.id,
    object: "model",
    created: info.created,
    owned_by: "sparrow",
    architecture: info.architecture,
    context_length: info.contextLength,
    vocabulary_size: info.vocabularySize,
    parameters: info.parameters,
    has_chat_template: info.hasChatTemplate,
    device: info.device,
  };
}
