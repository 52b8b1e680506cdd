import { z } from "@hono/zod-openapi";

/**
 * A field of OpenAI's API that this server does not implement: accepted with values that change nothing, so that
 * clients which always send it work, and refused with any other.
 */
function onlyNeutral(neutral: readonly unknown[], why: string): z.ZodType<unknown> {
  const written = neutral.map((value) => JSON.stringify(value)).join(" or ");
  const texts = new Set(neutral.map((value) => JSON.stringify(value)));
  return z.unknown().refine(
    (value) => value === undefined || value === null || texts.has(JSON.stringify(value)),
    `only ${written} is supported: ${why}`,
  ).optional().openapi({ description: `Only ${written} is supported: ${why}.` });
}

/** Refused by `/v1/completions`. */
export const unsupportedInCompletions: Record<
  "best_of" | "suffix",
  z.ZodType<unknown>
> = {
  best_of: onlyNeutral([1], "no choice is left out; `n` returns several"),
  suffix: onlyNeutral([""], "the model does not fill in the middle"),
};

/** Refused by `/v1/chat/completions`. */
export const unsupportedInChat: Record<
  "functions" | "function_call",
  z.ZodType<unknown>
> = {
  functions: onlyNeutral([[]], "deprecated; use `tools`"),
  function_call: onlyNeutral(["none", "auto"], "deprecated; use `tool_choice`"),
};
