import { ConstraintError } from "../common/errors.ts";
import type { JsonSchema, TextConstraint } from "./text_constraint.ts";

/** A constraint as it stands on the wire: one of these fields (vLLM's `structured_outputs`). */
export interface StructuredOutputs {
  /** A JSON schema, or one written as a string. */
  json?: JsonSchema | string | null;
  /** A regular expression that the whole text matches. */
  regex?: string | null;
  /** The texts to choose from. */
  choice?: readonly string[] | null;
  /** A grammar in Lark's notation. */
  grammar?: string | null;
  /** The text is a JSON object. */
  json_object?: boolean | null;
}

/**
 * The constraints that `outputs` asks for, each with the name of its field.
 * @throws {ConstraintError} for a field that there is not, or a schema that is no JSON.
 */
export function readStructuredOutputs(outputs: unknown): [field: string, TextConstraint][] {
  if (typeof outputs !== "object" || outputs === null || Array.isArray(outputs)) {
    throw new ConstraintError(`expected an object with one of ${[...fields].join(", ")}`);
  }
  const unknown = Object.keys(outputs).find((field) => !fields.has(field));
  if (unknown !== undefined) {
    throw new ConstraintError(`unexpected field "${unknown}", expected one of ${[...fields]}`);
  }
  const { json, regex, choice, grammar, json_object } = outputs as StructuredOutputs;
  const asked: [string, TextConstraint | undefined][] = [
    ["json", given(json) ? { kind: "json_schema", schema: parsed(json) } : undefined],
    ["regex", given(regex) ? { kind: "regex", pattern: regex } : undefined],
    ["choice", given(choice) ? { kind: "choice", choices: choice } : undefined],
    ["grammar", given(grammar) ? { kind: "grammar", grammar } : undefined],
    ["json_object", json_object ? { kind: "json_object" } : undefined],
  ];
  return asked.filter((one): one is [string, TextConstraint] => one[1] !== undefined);
}

/**
 * `constraint` as `readStructuredOutputs` reads it.
 * @throws {ConstraintError} for a kind that there is not, or one without its schema, pattern, choices or grammar: it would be none on the wire.
 */
export function toStructuredOutputs(constraint: TextConstraint): StructuredOutputs {
  const outputs = toFields(constraint);
  if (Object.values(outputs).some(given)) return outputs;
  throw new ConstraintError(
    `constraint is ${
      JSON.stringify(constraint)
    }, expected a kind of json_object, json_schema, regex, choice or grammar, and what it holds to`,
  );
}

function toFields(constraint: TextConstraint): StructuredOutputs {
  switch (constraint?.kind) {
    case "json_object":
      return { json_object: true };
    case "json_schema":
      return { json: constraint.schema };
    case "regex":
      return { regex: constraint.pattern };
    case "choice":
      return { choice: constraint.choices };
    case "grammar":
      return { grammar: constraint.grammar };
    default:
      return {};
  }
}

const fields: ReadonlySet<string> = new Set(["json", "regex", "choice", "grammar", "json_object"]);

function given<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}

function parsed(schema: JsonSchema | string): JsonSchema {
  if (typeof schema !== "string") return schema;
  try {
    return JSON.parse(schema);
  } catch (error) {
    throw new ConstraintError(`json is a string that is no JSON: ${(error as Error).message}`);
  }
}
