import { z } from "@hono/zod-openapi";
import { MAX_LOGPROBS } from "../common/max_logprobs.ts";

const meaning =
  "Natural logarithms of the model's own distribution: before temperature, top_p, top_k, min_p, " +
  "penalties, biases and constraints.";

/** Fields of `/v1/chat/completions` that ask for log probabilities. */
export const chatLogprobsFields = {
  logprobs: z.boolean().nullish().openapi({
    description:
      `Return the log probability of each token of the answer. ${meaning} Default false.`,
  }),
  top_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish().openapi({
    description:
      `How many of the likeliest tokens to list in each place, up to ${MAX_LOGPROBS}. Needs \`logprobs\`. Default 0.`,
  }),
};

/** Fields of `/v1/completions` that ask for log probabilities and for the prompt. */
export const completionLogprobsFields = {
  logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish().openapi({
    description:
      `Return the log probability of each token, and of so many of the likeliest in its place, up to ${MAX_LOGPROBS}. ` +
      `${meaning} Default: none are returned.`,
  }),
  echo: z.boolean().nullish().openapi({
    description:
      "Return the prompt in front of the text, and with `logprobs` the log probabilities of its tokens: those of a given " +
      "text with `max_tokens` 0. The prompt is then read anew, whatever the prefix cache holds. Default false.",
  }),
};

const tokenFields = {
  token: z.string().openapi({
    description: "Bytes that make no whole characters are written `\\xNN`.",
  }),
  logprob: z.number().openapi({
    description: "At least -9999, which stands for less likely tokens too.",
  }),
  bytes: z.array(z.int()).nullable().openapi({
    description: "UTF-8 of the token's text; null for a control token.",
  }),
};

/** `logprobs` of a choice of `/v1/chat/completions`. */
export const chatLogprobsSchema = z.object({
  content: z.array(z.object({
    ...tokenFields,
    top_logprobs: z.array(z.object(tokenFields)),
  })).openapi({
    description: "Tokens of the answer; an end token that ended it is not among them.",
  }),
  refusal: z.null(),
}).openapi("ChatLogprobs");

const responseTokenFields = {
  ...tokenFields,
  bytes: z.array(z.int()).openapi({
    description: "UTF-8 of the token's text; none for a control token.",
  }),
};

/** `logprobs` of a text of `/v1/responses`. */
export const responseLogprobsSchema = z.array(z.object({
  ...responseTokenFields,
  top_logprobs: z.array(z.object(responseTokenFields)),
}));

/** `logprobs` of a choice of `/v1/completions`. */
export const completionLogprobsSchema = z.object({
  tokens: z.array(z.string()).openapi({
    description:
      "Tokens of the text, the prompt's first with `echo`; an end token that ended the text comes last.",
  }),
  token_logprobs: z.array(z.number().nullable()).openapi({
    description: "Null for a prompt's first token, which follows nothing.",
  }),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).openapi({
    description: "The likeliest tokens, and the token itself.",
  }),
  text_offset: z.array(z.int()).openapi({
    description: "Where each token begins in the text, in code points.",
  }),
}).openapi("CompletionLogprobs");
