import { z } from "@hono/zod-openapi";
import { ConstraintError } from "../common/errors.ts";
import { grammarSource } from "../constraint/grammar_source.ts";
import { readStructuredOutputs } from "../constraint/structured_outputs.ts";
import type { TextConstraint } from "../constraint/text_constraint.ts";
import { ApiError } from "./api_error.ts";
import { untilFault } from "./until_fault.ts";

const jsonSchemaField = z.union([z.record(z.string(), z.unknown()), z.boolean()], {
  error: "expected a JSON schema",
}).openapi({ type: "object", description: "A JSON schema." });

/** `response_format` of a chat, as OpenAI has it. */
export const responseFormatSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object") }),
  z.object({
    type: z.literal("json_schema"),
    json_schema: z.object({
      name: z.string().nullish(),
      description: z.string().nullish(),
      schema: jsonSchemaField,
      strict: z.boolean().nullish().openapi({
        description:
          "Whether a schema that cannot be kept as a whole is refused. Default: what cannot be kept of it is ignored, the rest is kept.",
      }),
    }),
  }),
], { error: 'expected a type of "text", "json_object" or "json_schema"' }).openapi(
  "ResponseFormat",
  { description: "What the answer has to be: any text, any JSON object, or JSON of a schema." },
);

/** Choices at most: more are beyond what one constraint may be, of a character each. */
const mostChoices = 64 * 1024;

/** vLLM's extension of both completion surfaces, sent as `extra_body` by OpenAI's clients. */
export const structuredOutputsSchema = z.strictObject({
  json: z.union([jsonSchemaField, z.string()]).nullish().openapi({
    type: "object",
    description: "A JSON schema, or one written as a string. What of it cannot be kept is refused.",
  }),
  regex: z.string().nullish().openapi({
    description:
      "A regular expression that the whole text matches: Rust's syntax, without look-around and back-references.",
  }),
  choice: untilFault(z.string(), z.array(z.string()), mostChoices).nullish().openapi({
    description: "The text is one of these.",
  }),
  grammar: z.string().nullish().openapi({
    description: "A context-free grammar in Lark's notation, with a rule `start`.",
  }),
  json_object: z.boolean().nullish().openapi({ description: "The text is a JSON object." }),
}).openapi("StructuredOutputs", { description: "What the text has to be: one of these fields." });

/** Fields that constrain a text, validated. */
export interface ConstraintFields {
  response_format?: z.infer<typeof responseFormatSchema> | null;
  structured_outputs?: z.infer<typeof structuredOutputsSchema> | null;
  ignore_eos?: boolean | null;
}

/** The field that the constraint of a request comes in, if it has one. */
export function constraintField(fields: ConstraintFields): string | undefined {
  if (fields.structured_outputs) return "structured_outputs";
  return fields.response_format ? "response_format" : undefined;
}

/**
 * The constraint that a request asks for, if any.
 * Throws `ApiError` 400 for two at once, one that cannot be kept, or one beside `ignore_eos`.
 */
export function toConstraint(fields: ConstraintFields): TextConstraint | undefined {
  const format = ofFormat(fields.response_format);
  const outputs = fields.structured_outputs;
  const extension = outputs ? at("structured_outputs", () => readStructuredOutputs(outputs)) : [];
  if (outputs && extension.length === 0) {
    throw invalid("structured_outputs", "expected one of json, regex, choice, grammar");
  }
  const asked: [name: string, constraint: TextConstraint][] = [
    ...format ? [["response_format", format] as [string, TextConstraint]] : [],
    ...extension.map(([field, one]): [string, TextConstraint] => [
      `structured_outputs.${field}`,
      one,
    ]),
  ];
  if (asked.length === 0) return undefined;
  if (asked.length > 1) {
    const names = asked.map(([name]) => name);
    throw invalid(names[1], `only one constraint may be given, got ${names.join(" and ")}`);
  }
  const [[name, constraint]] = asked;
  if (fields.ignore_eos) throw invalid("ignore_eos", `cannot be combined with ${name}`);
  at(name, () => grammarSource(constraint));
  return constraint;
}

function ofFormat(format: ConstraintFields["response_format"]): TextConstraint | undefined {
  switch (format?.type) {
    case "json_object":
      return { kind: "json_object" };
    case "json_schema": {
      const { schema, strict } = format.json_schema;
      return { kind: "json_schema", schema, ...(!strict && { loose: true }) };
    }
    default:
      return undefined;
  }
}

/** What `read` returns; its refusal is that of the field `name`. */
function at<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ConstraintError) throw invalid(name, error.message);
    throw error;
  }
}

function invalid(name: string, message: string): ApiError {
  return ApiError.invalid(`${name}: ${message}`, name, "invalid_constraint");
}
