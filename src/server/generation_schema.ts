import { z } from "@hono/zod-openapi";
import type { GenerateRequest, Prompt, SamplingOptions } from "../engine/types.ts";
import { modelSchema, tokenIdsSchema } from "./schema_common.ts";
import { unsupportedEverywhere } from "./unsupported.ts";

const decodeSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("auto") }),
  z.object({ kind: z.literal("dense") }),
  z.object({
    kind: z.literal("retrieval"),
    k: z.int().min(1).optional().openapi({ description: "Keys retrieved per head and token." }),
    mass: z.number().gt(0).max(1).optional().openapi({
      description: "Share of attention mass to keep; `k` follows from it.",
    }),
  }),
]).openapi("DecodePolicy");

/** This server's own options, sent as `extra_body` by OpenAI's clients. */
const sparrowSchema = z.strictObject({
  decode: decodeSchema.optional(),
  criteria: z.enum(["latency", "throughput"]).optional().openapi({
    description: "`latency` work is admitted first; `throughput` work fills what is left.",
  }),
}).openapi("SparrowOptions");

/** Fields of both completion surfaces. */
export const generationFields = {
  model: modelSchema,
  temperature: z.number().min(0).max(2).nullish().openapi({
    description: "0 is greedy. Default 1.",
  }),
  top_p: z.number().min(0).max(1).nullish().openapi({
    description: "Keep the likeliest tokens up to this probability. Default 1.",
  }),
  top_k: z.int().min(-1).nullish().openapi({
    description: "Keep this many likeliest tokens; 0 and -1 keep all. Default 0.",
  }),
  min_p: z.number().min(0).max(1).nullish().openapi({
    description: "Drop tokens below this share of the likeliest one's probability. Default 0.",
  }),
  seed: z.int().nullish().openapi({
    description: "Same seed, same prompt, same text. Drawn at random when absent.",
  }),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(16)], {
    error: "expected a non-empty string or an array of at most 16 of them",
  }).nullish().openapi({ description: "Generation ends before the first of these strings." }),
  stop_token_ids: tokenIdsSchema.optional(),
  ignore_eos: z.boolean().optional().openapi({
    description: "Go on past the model's own end tokens.",
  }),
  max_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish().openapi({
    description:
      "Choices for each prompt, 128 in all at most. Choice k has the k-th seed from `seed` on. Default 1.",
  }),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().optional() }).nullish(),
  sparrow: sparrowSchema.optional(),
  ...unsupportedEverywhere,
};

const generationSchema = z.object(generationFields);

/** The validated fields of both completion surfaces. */
export type GenerationFields = z.infer<typeof generationSchema>;

/** The engine's request for validated fields. */
export function toGenerateRequest(
  id: string,
  fields: GenerationFields,
  prompt: Prompt,
  options: { cacheScope: string; maxTokens?: number },
): GenerateRequest {
  return {
    id,
    model: fields.model,
    prompt,
    maxTokens: options.maxTokens,
    sampling: toSampling(fields),
    stop: typeof fields.stop === "string" ? [fields.stop] : fields.stop ?? undefined,
    stopTokens: fields.stop_token_ids,
    ignoreEos: fields.ignore_eos,
    cacheScope: options.cacheScope,
    criteria: fields.sparrow?.criteria,
    decode: fields.sparrow?.decode,
  };
}

function toSampling(fields: GenerationFields): SamplingOptions {
  return {
    temperature: fields.temperature ?? 1,
    topK: Math.max(fields.top_k ?? 0, 0),
    topP: fields.top_p ?? 1,
    minP: fields.min_p ?? 0,
    // OpenAI's seeds are 64-bit integers; the engine's are the low 32 bits.
    seed: fields.seed === null || fields.seed === undefined
      ? crypto.getRandomValues(new Uint32Array(1))[0]
      : Number(BigInt.asUintN(32, BigInt(fields.seed))),
  };
}
