import type { GenerateRequest, GenerateUsage, Prompt } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { promptSize } from "./prompt_length.ts";

/** Choices of one request at most, over all its prompts: each takes a place in the engine's queue. */
const maxChoices = 128;

/** Characters and tokens of all choices of one request at most: each choice is handed to the engine with a prompt of its own. */
const maxSize = 2 ** 27;

/**
 * A request for every choice: `n` of each prompt in turn, as OpenAI numbers them. Choice k of a prompt has the k-th seed
 * from the given one on. Throws `ApiError` 400 for too many, and for copies of prompts that are too large together.
 *
 * @param make the request for one prompt, whose id and seed the first choice keeps
 */
export function requestsOf(
  prompts: readonly Prompt[],
  n: number,
  make: (prompt: Prompt) => GenerateRequest,
): GenerateRequest[] {
  if (prompts.length * n > maxChoices) {
    throw ApiError.invalid(
      `${prompts.length} prompts with n = ${n} are ${
        prompts.length * n
      } choices, expected at most ${maxChoices}`,
      prompts.length > maxChoices ? "prompt" : "n",
    );
  }
  const sizes = prompts.map(promptSize);
  const size = sizes.reduce((sum, { tokens, characters }) => sum + tokens + characters, 0);
  if (n > 1 && size * n > maxSize) {
    throw ApiError.invalid(
      `n = ${n} of ${size} characters or tokens are ${size * n}, expected at most ${maxSize}`,
      "n",
    );
  }
  return prompts.map(make).flatMap((request, place) =>
    Array.from({ length: n }, (_, k) => {
      const index = place * n + k;
      const seed = (request.sampling.seed + k) >>> 0;
      return {
        ...request,
        id: index === 0 ? request.id : `${request.id}-${index}`,
        sampling: { ...request.sampling, seed },
      };
    })
  );
}

/**
 * What several choices used together: a prompt counts once however many choices it has; times run from the submission to
 * the first token of any choice, and from there to the last of all.
 */
export function sumUsage(usages: readonly GenerateUsage[], n: number): GenerateUsage {
  if (usages.length === 1) return usages[0];
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const prompts = usages.filter((_, index) => index % n === 0);
  const began = usages.filter((usage) => usage.completionTokens > 0);
  const ttftMs = began.length === 0 ? 0 : Math.min(...began.map((usage) => usage.ttftMs));
  const end = Math.max(0, ...began.map((usage) => usage.ttftMs + usage.decodeMs));
  return {
    promptTokens: sum(prompts.map((usage) => usage.promptTokens)),
    completionTokens: sum(usages.map((usage) => usage.completionTokens)),
    cachedTokens: sum(prompts.map((usage) => usage.cachedTokens)),
    ttftMs,
    decodeMs: end - ttftMs,
  };
}
