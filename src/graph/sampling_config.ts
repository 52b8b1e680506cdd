import { ConstraintError } from "../common/errors.ts";
import { grammarSource } from "../constraint/grammar_source.ts";
import { readStructuredOutputs } from "../constraint/structured_outputs.ts";
import type { TextConstraint } from "../constraint/text_constraint.ts";
import type { SamplingOptions } from "../engine/types.ts";
import { GraphError } from "./graph_error.ts";

/** How the output of a call is generated. */
export interface CallSampling {
  sampling: SamplingOptions;
  maxTokens: number;
  stop: string[];
  stopTokens: number[];
  ignoreEos: boolean;
  /** What the text has to be. */
  constraint?: TextConstraint;
}

/** Parrot's defaults (its `SamplingConfig`): sampling at temperature 1, up to 512 tokens. */
const defaults = {
  temperature: 1,
  top_p: 1,
  max_gen_length: 512,
  ignore_tokenizer_eos: false,
  stop_token_ids: [] as number[],
  stop_str: null as string | string[] | null,
  top_k: 0,
  min_p: 0,
  seed: null as number | null,
  presence_penalty: 0,
  frequency_penalty: 0,
  structured_outputs: null as unknown,
};

/** Fields of the reference's configuration that its own engines do not use either: checked to be known, then left out. */
const unused = new Set([
  "n",
  "best_of",
  "logit_bias",
  "repetition_penalty",
  "length_penalty",
]);

/**
 * Reads a `sampling_config`. Missing fields take Parrot's defaults; `top_k`, `min_p`, `seed` and `structured_outputs` are ours. `seed` is
 * what is used when the configuration names none. Throws `GraphError` (invalid) for an unknown field or a bad value.
 */
export function parseSamplingConfig(
  config: Record<string, unknown> | null | undefined,
  seed: number,
): CallSampling {
  const given = config ?? {};
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(defaults, key) && !unused.has(key)) {
      throw new GraphError("invalid", `sampling_config: unexpected field ${JSON.stringify(key)}`);
    }
  }
  const number = (key: keyof typeof defaults, low: number, high: number, whole = false): number => {
    const value = given[key] ?? defaults[key];
    const fits = typeof value === "number" && value >= low && value <= high;
    if (fits && (!whole || Number.isInteger(value))) return value;
    throw new GraphError(
      "invalid",
      `sampling_config.${key}: got ${JSON.stringify(value)}, expected ${
        whole ? "an integer" : "a number"
      } in [${low}, ${high}]`,
    );
  };
  const ignoreEos = boolean(given.ignore_tokenizer_eos, "ignore_tokenizer_eos");
  const constraint = readConstraint(given.structured_outputs);
  if (constraint && ignoreEos) {
    throw new GraphError(
      "invalid",
      "sampling_config.structured_outputs: cannot be combined with ignore_tokenizer_eos",
    );
  }
  return {
    sampling: {
      temperature: number("temperature", 0, 100),
      topP: number("top_p", 0, 1),
      topK: number("top_k", 0, 2 ** 31, true),
      minP: number("min_p", 0, 1),
      presencePenalty: number("presence_penalty", -2, 2),
      frequencyPenalty: number("frequency_penalty", -2, 2),
      seed: given.seed === undefined || given.seed === null
        ? seed
        : number("seed", 0, 2 ** 32 - 1, true),
    },
    maxTokens: number("max_gen_length", 1, 2 ** 31, true),
    stop: list(given.stop_str, "stop_str", "string"),
    stopTokens: list(given.stop_token_ids, "stop_token_ids", "number"),
    ignoreEos,
    ...constraint ? { constraint } : {},
  };
}

function readConstraint(outputs: unknown): TextConstraint | undefined {
  if (outputs === undefined || outputs === null) return undefined;
  const refuse = (message: string) =>
    new GraphError("invalid", `sampling_config.structured_outputs: ${message}`);
  try {
    const asked = readStructuredOutputs(outputs);
    if (asked.length !== 1) {
      const names = asked.map(([field]) => field).join(" and ") || "none";
      throw refuse(`got ${names}, expected one of json, regex, choice, grammar, json_object`);
    }
    const [[, constraint]] = asked;
    grammarSource(constraint);
    return constraint;
  } catch (error) {
    throw error instanceof ConstraintError ? refuse(error.message) : error;
  }
}

function boolean(value: unknown, key: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value === "boolean") return value;
  throw new GraphError(
    "invalid",
    `sampling_config.${key}: got ${JSON.stringify(value)}, expected true or false`,
  );
}

function list(value: unknown, key: string, type: "string"): string[];
function list(value: unknown, key: string, type: "number"): number[];
function list(value: unknown, key: string, type: "string" | "number"): unknown[] {
  if (value === undefined || value === null) return [];
  const items = Array.isArray(value) ? value : [value];
  if (items.every((item) => typeof item === type && item !== "")) return items;
  throw new GraphError(
    "invalid",
    `sampling_config.${key}: got ${JSON.stringify(value)}, expected ${type}s`,
  );
}
