import { ConstraintError } from "../common/errors.ts";
import { grammarSource } from "../constraint/grammar_source.ts";
import type { TextConstraint } from "../constraint/text_constraint.ts";
import { checkInput } from "./check_input.ts";
import { UsageError } from "./usage_error.ts";

/**
 * The constraint of `--schema FILE` or `--regex PATTERN`, if any.
 * @throws {UsageError} for both, a file that is not there or no JSON, or a schema that cannot be kept.
 */
export async function readConstraint(
  given: { schema?: string; regex?: string },
): Promise<TextConstraint | undefined> {
  const { schema, regex } = given;
  if (schema !== undefined && regex !== undefined) {
    throw new UsageError("--schema and --regex: expected one of them");
  }
  if (schema === undefined && regex === undefined) return undefined;
  if (schema !== undefined) await checkInput(schema);
  try {
    const constraint: TextConstraint = schema === undefined
      ? { kind: "regex", pattern: regex! }
      : { kind: "json_schema", schema: JSON.parse(await Deno.readTextFile(schema)) };
    grammarSource(constraint);
    return constraint;
  } catch (error) {
    if (!(error instanceof ConstraintError || error instanceof SyntaxError)) throw error;
    const flag = schema === undefined ? "--regex" : `--schema ${schema}`;
    throw new UsageError(`${flag}: ${error.message}`);
  }
}
