import type { z } from "@hono/zod-openapi";
import type { ScoredToken, TokenLogprob } from "../engine/types.ts";
import type {
  chatLogprobsSchema,
  completionLogprobsSchema,
  responseLogprobsSchema,
} from "./logprobs_schema.ts";

/** Log probabilities as OpenAI's chat completions write them. */
export function chatLogprobs(tokens: readonly ScoredToken[]): z.infer<typeof chatLogprobsSchema> {
  return {
    content: tokens.map(({ top, ...token }) => ({
      // A chat's answer follows its prompt, so there is always one.
      ...wireToken({ ...token, logprob: token.logprob! }),
      top_logprobs: top.map(wireToken),
    })),
    refusal: null,
  };
}

/** Log probabilities as OpenAI's responses write them: a control token has no bytes instead of null. */
export function responseLogprobs(
  tokens: readonly ScoredToken[],
): z.infer<typeof responseLogprobsSchema> {
  return chatLogprobs(tokens).content.map(({ top_logprobs, bytes, ...token }) => ({
    ...token,
    bytes: bytes ?? [],
    top_logprobs: top_logprobs.map((top) => ({ ...top, bytes: top.bytes ?? [] })),
  }));
}

/** Log probabilities as OpenAI's text completions write them. */
export function completionLogprobs(
  tokens: readonly ScoredToken[],
): z.infer<typeof completionLogprobsSchema> {
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ token, logprob, top }) => {
      if (logprob === null) return null;
      const likeliest = new Map([[token, logprob]]);
      // Of tokens that read alike the likeliest is shown.
      for (const each of top) {
        likeliest.set(each.token, Math.max(each.logprob, likeliest.get(each.token) ?? -Infinity));
      }
      return Object.fromEntries(likeliest);
    }),
    text_offset: tokens.map(({ offset }) => offset),
  };
}

function wireToken({ token, logprob, bytes }: Omit<TokenLogprob, "id">) {
  return { token, logprob, bytes: bytes && [...bytes] };
}
