import { createRoute, type z } from "@hono/zod-openapi";
import type { TypedResponse } from "hono";
import type { EmbeddedText } from "../engine/text_embedder.ts";
import { vectorWire } from "../engine/vector_wire.ts";
import { ApiError } from "./api_error.ts";
import { checkVocabulary } from "./check_vocabulary.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import {
  type EmbeddingsRequest,
  embeddingsRequestSchema,
  embeddingsSchema,
} from "./embeddings_schema.ts";
import { errorResponses } from "./error_responses.ts";
import { checkPromptLength } from "./prompt_length.ts";
import { toPrompts } from "./prompts.ts";

/** What the router takes for an answer of the schema. */
type EmbeddingsJson = Response & TypedResponse<z.infer<typeof embeddingsSchema>, 200, "json">;

const route = createRoute({
  method: "post",
  path: "/v1/embeddings",
  tags: ["Text"],
  summary: "Embed texts",
  request: {
    body: { required: true, content: { "application/json": { schema: embeddingsRequestSchema } } },
  },
  responses: {
    200: {
      description: "A vector for each text, in their order.",
      content: { "application/json": { schema: embeddingsSchema } },
    },
    ...errorResponses,
  },
});

/** `POST /v1/embeddings`, as OpenAI has it. */
export function embeddingsRoutes(router: AppRouter, { desk }: ServerContext): void {
  router.openapi(route, async (c) => {
    const { input, dimensions, encoding_format, ...body } = c.req.valid("json");
    const model = desk.modelName(body.model);
    const { vocabularySize, contextLength, embeddingWidth } = await desk.modelInfo(model);
    checkDimensions(dimensions, embeddingWidth);
    const prompts = toPrompts(input, { field: "input", special: false });
    for (const [index, prompt] of prompts.entries()) {
      const name = prompts.length === 1 ? "input" : `input.${index}`;
      checkVocabulary(prompt, vocabularySize, name, "input");
      checkPromptLength(prompt, contextLength, name, false);
    }
    const texts = await desk.embed({
      id: `embd-${crypto.randomUUID()}`,
      model,
      prompts,
      dimensions: dimensions ?? undefined,
      cacheScope: c.get("cacheScope"),
      signal: c.req.raw.signal,
    });
    const json = ReadableStream.from(written(texts, model, encoding_format));
    return c.body(json, 200, { "Content-Type": "application/json" }) as Response as EmbeddingsJson;
  });
}

function checkDimensions(dimensions: EmbeddingsRequest["dimensions"], width = Infinity): void {
  if (!dimensions || dimensions <= width) return;
  throw ApiError.invalid(
    `dimensions: ${dimensions}, expected at most the model's ${width}`,
    "dimensions",
  );
}

/** The answer's JSON, a vector at a time: two thousand of them as numbers are long to write, and others wait for this process meanwhile. */
function* written(
  texts: readonly EmbeddedText[],
  model: string,
  format: EmbeddingsRequest["encoding_format"],
): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  const tokens = texts.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  yield encoder.encode('{"object":"list","data":[');
  for (const [index, { vector }] of texts.entries()) {
    const embedding = format === "base64" ? vector : [...vectorWire.decode(vector)];
    const item = JSON.stringify({ object: "embedding", index, embedding });
    yield encoder.encode(index === 0 ? item : `,${item}`);
  }
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  yield encoder.encode(`],"model":${JSON.stringify(model)},"usage":${JSON.stringify(usage)}}`);
}
