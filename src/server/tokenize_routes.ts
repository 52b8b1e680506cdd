import { createRoute, z } from "@hono/zod-openapi";
import { ApiError } from "./api_error.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { fromEngineError } from "./error_map.ts";
import { errorResponses } from "./error_responses.ts";
import { modelSchema, tokenIdsSchema } from "./schema_common.ts";

const tokenizeRoute = createRoute({
  method: "post",
  path: "/tokenize",
  tags: ["Tokens"],
  summary: "Text to tokens",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z.object({
            model: modelSchema,
            prompt: z.string(),
            add_special_tokens: z.boolean().default(true).openapi({
              description: "Put the model's beginning-of-sequence token in front, if it has one.",
            }),
            parse_special: z.boolean().default(true).openapi({
              description: "Recognise control tokens written in the text.",
            }),
          }).openapi("TokenizeRequest"),
        },
      },
    },
  },
  responses: {
    200: {
      description: "The tokens.",
      content: {
        "application/json": {
          schema: z.object({
            tokens: z.array(z.int()),
            count: z.int(),
            max_model_len: z.int().openapi({ description: "The model's context in tokens." }),
          }).openapi("Tokens"),
        },
      },
    },
    ...errorResponses,
  },
});

const detokenizeRoute = createRoute({
  method: "post",
  path: "/detokenize",
  tags: ["Tokens"],
  summary: "Tokens to text",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z.object({ model: modelSchema, tokens: tokenIdsSchema })
            .openapi("DetokenizeRequest"),
        },
      },
    },
  },
  responses: {
    200: {
      description: "The text.",
      content: { "application/json": { schema: z.object({ prompt: z.string() }) } },
    },
    ...errorResponses,
  },
});

const infoRoute = createRoute({
  method: "get",
  path: "/tokenizer_info",
  tags: ["Tokens"],
  summary: "What a client needs to tokenize as the model does",
  request: { query: z.object({ model: modelSchema }) },
  responses: {
    200: {
      description:
        "The model's special tokens and its chat template (Jinja), null where it has none.",
      content: {
        "application/json": {
          schema: z.object({
            bos_token: z.string().nullable(),
            eos_token: z.string().nullable(),
            pad_token: z.null(),
            chat_template: z.string().nullable(),
            model_max_length: z.int(),
          }).openapi("TokenizerInfo"),
        },
      },
    },
    ...errorResponses,
  },
});

/** `POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, as vLLM has them. The work is done in the model's host. */
export function tokenizeRoutes(router: AppRouter, { pool, desk }: ServerContext): void {
  router.openapi(tokenizeRoute, async (c) => {
    const body = c.req.valid("json");
    const info = await desk.modelInfo(body.model);
    const tokens = await pool.tokenize(body.prompt, {
      model: info.id,
      addBos: body.add_special_tokens,
      special: body.parse_special,
    }).catch(rethrow);
    return c.json({ tokens, count: tokens.length, max_model_len: info.contextLength }, 200);
  });
  router.openapi(detokenizeRoute, async (c) => {
    const body = c.req.valid("json");
    const info = await desk.modelInfo(body.model);
    const bad = body.tokens.findIndex((id) => id >= info.vocabularySize);
    if (bad >= 0) {
      throw ApiError.invalid(
        `tokens.${bad}: ${
          body.tokens[bad]
        }, expected less than the vocabulary's ${info.vocabularySize}`,
        `tokens.${bad}`,
      );
    }
    const prompt = await pool.detokenize(body.tokens, { model: info.id }).catch(rethrow);
    return c.json({ prompt }, 200);
  });
  router.openapi(infoRoute, async (c) => {
    const info = await desk.modelInfo(c.req.valid("query").model);
    return c.json({
      bos_token: info.bosToken ?? null,
      eos_token: info.eosToken ?? null,
      pad_token: null,
      chat_template: info.chatTemplate ?? null,
      model_max_length: info.contextLength,
    }, 200);
  });
}

function rethrow(error: unknown): never {
  throw fromEngineError(error);
}
