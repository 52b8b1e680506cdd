import { z } from "@hono/zod-openapi";
import { modelSchema, promptsSchema } from "./schema_common.ts";
import { unsupportedInEmbeddings } from "./unsupported.ts";

/** Texts of one request at most, as OpenAI documents it. */
const maxInputs = 2048;

/** Body of `POST /v1/embeddings`. */
export const embeddingsRequestSchema = z.object({
  model: modelSchema,
  input: promptsSchema(maxInputs).openapi({
    description:
      "A text (control tokens written in it are text) or token ids, or several of either. Tokens that the model's metadata asks for at the " +
      "beginning and the end are added unless token ids bring them.",
  }),
  encoding_format: z.enum(["float", "base64"]).nullish().openapi({
    description: "Numbers, or f32, little endian, in base64, which is shorter. Default `float`.",
  }),
  dimensions: z.int().min(1).nullish().openapi({
    description:
      "Leading elements of the vectors to give, scaled to unit length, for models trained to bear it. Default: the model's width.",
  }),
  ...unsupportedInEmbeddings,
}).openapi("EmbeddingsRequest");

/** A validated body of `POST /v1/embeddings`. */
export type EmbeddingsRequest = z.infer<typeof embeddingsRequestSchema>;

/** Answer of `POST /v1/embeddings`. */
export const embeddingsSchema = z.object({
  object: z.literal("list"),
  data: z.array(z.object({
    object: z.literal("embedding"),
    index: z.int().nonnegative(),
    embedding: z.union([z.array(z.number()), z.string()]).openapi({
      description: "A vector of unit length.",
    }),
  })),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
}).openapi("Embeddings");
