import { z } from "@hono/zod-openapi";

/** What a field of this server is not: the values that change nothing, beside null, and why there are no others. */
type Neutral = readonly [values: readonly unknown[], why: string];

/**
 * Fields of OpenAI's API, and of vLLM's beside it, that this server does not implement: accepted with values that change nothing, so that
 * clients which always send them work, and refused with any other.
 */
function onlyNeutral<Name extends string>(
  fields: Record<Name, Neutral>,
): Record<Name, z.ZodType<unknown>> {
  const entries = Object.entries<Neutral>(fields);
  return Object.fromEntries(
    entries.map(([name, neutral]) => [name, neutralSchema(neutral)]),
  ) as Record<Name, z.ZodType<unknown>>;
}

function neutralSchema([values, why]: Neutral): z.ZodType<unknown> {
  const texts = values.map((value) => JSON.stringify(value));
  const written = texts.length === 0 ? "null" : texts.join(" or ");
  return z.unknown().refine(
    (value) => value === undefined || value === null || texts.includes(JSON.stringify(value)),
    `only ${written} is supported: ${why}`,
  ).optional().openapi({ description: `Only ${written} is supported: ${why}.` });
}

function onlyNull(why: string): z.ZodType<null | undefined> {
  return neutralSchema([[], why]) as z.ZodType<null | undefined>;
}

/** Refused by all completion surfaces. */
const unsupported = onlyNeutral({
  guided_json: [[], "use `structured_outputs.json`"],
  guided_regex: [[], "use `structured_outputs.regex`"],
  guided_choice: [[], "use `structured_outputs.choice`"],
  guided_grammar: [[], "use `structured_outputs.grammar`"],
  repetition_penalty: [[1], "use `presence_penalty` or `frequency_penalty`"],
  min_tokens: [[0], "a text ends where the model ends it; `ignore_eos` goes on to `max_tokens`"],
  bad_words: [[[]], "use `logit_bias`"],
  include_stop_str_in_output: [[false], "a text ends before its stop string"],
  use_beam_search: [[false], "texts are sampled"],
  length_penalty: [[1], "it is of beam search"],
  allowed_token_ids: [[], "use `structured_outputs` or `logit_bias`"],
  truncate_prompt_tokens: [[], "prompts are read whole or refused"],
  skip_special_tokens: [[true], "texts are without them"],
  prompt_logprobs: [[], "`/v1/completions` has them with `echo` and `logprobs`"],
  prompt_embeds: [[], "prompts are texts or tokens"],
  logits_processors: [[[]], "use `logit_bias` or `structured_outputs`"],
  grammar: [[""], "use `structured_outputs.grammar`"],
  json_schema: [[], "use `structured_outputs.json`"],
  structural_tag: [[], "use `structured_outputs` or `tools`"],
});

/** Refused by `/v1/completions`. */
export const unsupportedInCompletions = {
  ...unsupported,
  ...onlyNeutral({ suffix: [[""], "the model does not fill in the middle"] }),
};

/** Refused by `/v1/chat/completions`. */
export const unsupportedInChat = {
  ...unsupported,
  ...onlyNeutral({
    functions: [[[]], "deprecated; use `tools`"],
    function_call: [["none", "auto"], "deprecated; use `tool_choice`"],
    continue_final_message: [[false], "use `/v1/completions` to continue a text"],
    add_generation_prompt: [[true], "use `/v1/completions` for a prompt of your own"],
    echo: [[false], "`/v1/completions` has it"],
    documents: [[[]], "put them into messages"],
    chat_template: [[], "the model's own is used"],
    chat_template_kwargs: [[{}], "the model's own template is used as it is"],
    modalities: [[["text"]], "answers are text"],
    audio: [[], "answers are text"],
    web_search_options: [[], "the server searches nothing"],
    prediction: [[], "answers are not predicted"],
  }),
};

/** Refused by `/v1/responses`. */
export const unsupportedInResponses = {
  ...unsupported,
  ...onlyNeutral({
    conversation: [[], "use `previous_response_id`"],
    prompt: [[], "the server keeps no prompt templates"],
    truncation: [["disabled"], "prompts are read whole or refused"],
    modalities: [[["text"]], "answers are text"],
    messages: [[], "use `input`"],
  }),
  structured_outputs: onlyNull("use `text.format`"),
  response_format: onlyNull("use `text.format`"),
  max_tokens: onlyNull("use `max_output_tokens`"),
};

/** Refused by `/v1/embeddings`. */
export const unsupportedInEmbeddings = onlyNeutral({
  messages: [[], "use `input`"],
  truncate_prompt_tokens: [[], "texts are read whole or refused"],
  add_special_tokens: [[true], "token ids may bring their own"],
  normalize: [[true], "vectors are of unit length"],
});

/** Refused in a message of a chat. */
export const unsupportedInMessages = onlyNeutral({
  function_call: [[], "deprecated; use `tool_calls`"],
  audio: [[], "messages are text"],
});

/** Of both completion surfaces: choices to draw, of which those beyond `n` would be left out. */
export const bestOfField = z.int().min(1).nullish().openapi({
  description: "At most `n` is supported: no choice is left out.",
});

/** How a schema's `refine` refuses a `best_of` that asks for a choice to be left out. */
export const bestOfCheck: [
  fits: (fields: { best_of?: number | null; n?: number | null }) => boolean,
  refusal: { path: string[]; error: string },
] = [
  ({ best_of, n }) => (best_of ?? 0) <= (n ?? 1),
  { path: ["best_of"], error: "at most `n` is supported: no choice is left out" },
];
