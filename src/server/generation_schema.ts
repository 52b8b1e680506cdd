import { z } from "@hono/zod-openapi";
import type { GenerateRequest, Prompt, SamplingOptions } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import {
  type ConstraintFields,
  structuredOutputsSchema,
  toConstraint,
} from "./constraint_schema.ts";
import { modelSchema, tokenIdsSchema } from "./schema_common.ts";
import { untilFault } from "./until_fault.ts";
import { bestOfField } from "./unsupported.ts";

const decodeSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("auto") }),
  z.strictObject({ kind: z.literal("dense") }),
  z.strictObject({
    kind: z.literal("retrieval"),
    k: z.int().min(1).optional().openapi({
      description: "Keys retrieved per query head and token; goes before `mass`.",
    }),
    mass: z.number().gt(0).max(1).optional().openapi({
      description:
        "Share of attention to keep: its outputs are off by 1 − mass at most, on average. Default 0.99.",
    }),
  }),
]).openapi("DecodePolicy", {
  description:
    "How attention over the context is computed: on the GPU (`dense`), over keys and values in CPU memory (`retrieval`), or `auto`: by retrieval " +
    "from 32,768 prompt tokens on without a GPU, else dense. Default `auto`.",
});

/** This server's own options, sent as `extra_body` by OpenAI's clients. */
const sparrowSchema = z.strictObject({
  decode: decodeSchema.optional(),
  criteria: z.enum(["latency", "throughput"]).optional().openapi({
    description: "`latency` work is admitted first; `throughput` work fills what is left.",
  }),
  progress: z.boolean().optional().openapi({
    description:
      "While a long prompt is read, a stream tells how far that is in comments, such as `: read 1024 of 6780 tokens`, which clients that do not know them ignore.",
  }),
}).openapi("SparrowOptions");

/** Any integer that JSON can hold: of 64 bits, the parser may have lost low ones. */
const integerSchema = z.number().refine(Number.isInteger, "expected an integer").openapi({
  type: "integer",
});

const biasSchema = z.number().min(-100).max(100);

/** Stop tokens at most: a body has room for millions, which would take seconds. */
const mostStopTokens = 16 * 1024;

/** Fields of every surface that generates. */
export const samplingFields = {
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
  presence_penalty: z.number().min(-2).max(2).nullish().openapi({
    description: "Taken from the logit of every token generated before. Default 0.",
  }),
  frequency_penalty: z.number().min(-2).max(2).nullish().openapi({
    description: "Taken from a token's logit as often as it was generated before. Default 0.",
  }),
  logit_bias: untilFault(
    biasSchema,
    z.record(z.string(), biasSchema).refine(
      (biases) => Object.keys(biases).every((id) => /^\d{1,9}$/.test(id)),
      "expected token ids as keys",
    ),
  ).nullish().openapi({ description: "Added to the logits of tokens, by id." }),
  seed: integerSchema.nullish().openapi({
    description: "Same seed, same prompt, same text. Drawn at random when absent.",
  }),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(16)], {
    error: "expected a non-empty string or an array of at most 16 of them",
  }).nullish().openapi({ description: "Generation ends before the first of these strings." }),
  stop_token_ids: untilFault(z.int().min(0), tokenIdsSchema, mostStopTokens).nullish(),
  stream: z.boolean().nullish(),
  sparrow: sparrowSchema.nullish(),
};

/** Fields of both completion surfaces. */
export const generationFields = {
  model: modelSchema,
  ...samplingFields,
  ignore_eos: z.boolean().nullish().openapi({
    description: "Go on past the model's own end tokens.",
  }),
  max_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish().openapi({
    description:
      "Choices for each prompt, 128 in all at most. Choice k has the k-th seed from `seed` on. Default 1.",
  }),
  best_of: bestOfField,
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  structured_outputs: structuredOutputsSchema.nullish(),
};

const generationSchema = z.object(generationFields);

/** The validated fields of both completion surfaces. */
export type GenerationFields = z.infer<typeof generationSchema> & ConstraintFields;

/** The engine's request for validated fields. Throws `ApiError` 400 for a constraint that cannot be kept. */
export function toGenerateRequest(
  id: string,
  fields: GenerationFields,
  prompt: Prompt,
  options: Pick<
    GenerateRequest,
    "cacheScope" | "maxTokens" | "logprobs" | "echo" | "constraint" | "visible"
  >,
): GenerateRequest {
  return {
    id,
    model: fields.model ?? undefined,
    prompt,
    sampling: toSampling(fields),
    stop: typeof fields.stop === "string" ? [fields.stop] : fields.stop ?? undefined,
    stopTokens: fields.stop_token_ids ?? undefined,
    ignoreEos: fields.ignore_eos ?? undefined,
    constraint: toConstraint(fields),
    criteria: fields.sparrow?.criteria,
    decode: fields.sparrow?.decode,
    progress: fields.sparrow?.progress,
    ...options,
  };
}

/** Throws `ApiError` 400 where a bias is for a token outside the vocabulary of `size` tokens. */
export function checkLogitBias(fields: GenerationFields, size: number): void {
  const bad = Object.keys(fields.logit_bias ?? {}).find((id) => Number(id) >= size);
  if (bad !== undefined) {
    throw ApiError.invalid(
      `logit_bias.${bad}: expected a token less than the vocabulary's ${size}`,
      "logit_bias",
    );
  }
}

function toSampling(fields: GenerationFields): SamplingOptions {
  return {
    temperature: fields.temperature ?? 1,
    topK: Math.max(fields.top_k ?? 0, 0),
    topP: fields.top_p ?? 1,
    minP: fields.min_p ?? 0,
    presencePenalty: fields.presence_penalty ?? undefined,
    frequencyPenalty: fields.frequency_penalty ?? undefined,
    logitBias: fields.logit_bias ?? undefined,
    // OpenAI's seeds are 64-bit integers; the engine's are the low 32 bits.
    seed: fields.seed === null || fields.seed === undefined
      ? crypto.getRandomValues(new Uint32Array(1))[0]
      : Number(BigInt.asUintN(32, BigInt(fields.seed))),
  };
}
