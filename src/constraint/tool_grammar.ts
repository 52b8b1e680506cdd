import { ConstraintError } from "../common/errors.ts";
import { toolMarks } from "../common/tools.ts";
import { readJsonSchema } from "./read_json_schema.ts";
import type { SchemaKeeping } from "./schema_keeping.ts";
import type { JsonSchema } from "./text_constraint.ts";
import type { ToolCallConstraint } from "./tool_call_constraint.ts";

/** Calls in one answer at most, so that a model which finds no end comes to one. */
const MOST_CALLS = 16;

/** Blanks between the tokens of arguments, each optional: models write calls on one line. */
const WHITESPACE = "\\x20";

/** Blanks between the tokens of an answer, as in JSON without tools (`native/grammar`): a model that finds no end could go on with others. */
const ANSWER_WHITESPACE = "\\x20|\\n\\x20{0,16}";

const FREE = "/(?s:.*)/";

/**
 * The grammar, in Lark's notation, of texts that keep `constraint`. Its free part takes any text; where a mark of a call is complete, nothing
 * but a call may follow, since a lexeme that is `lazy` ends where it first matches and the rest is no free text any more.
 * @param keeping of loose schemas
 * @throws {ConstraintError} for a name or a schema that cannot be kept.
 */
export function toolGrammar(
  constraint: ToolCallConstraint,
  keeping: SchemaKeeping = "most",
): string {
  const { form, tools, choice, parallel, answer } = constraint;
  if (!Array.isArray(tools) || tools.length === 0) {
    throw new ConstraintError("tool_calls: expected tools, got none");
  }
  const more = (rule: string) => parallel ? ` ${rule}{0,${MOST_CALLS - 1}}` : "";
  const argumentsKey = form === "llama" ? "parameters" : "arguments";
  const auto = choice === "auto";
  if (answer && (!auto || form === "llama")) {
    throw new ConstraintError(`tool_calls: an answer with choice ${choice} in form ${form}`);
  }
  const called = auto && !answer ? "begin calls" : "first calls";
  const free = !auto ? "" : answer ? "answer | " : "TEXT | ";
  const lines = [`start: ${free}${called}`, `TEXT: ${FREE}`];
  if (answer) lines.push(`answer: %json ${JSON.stringify(answerSchema(answer, keeping))}`);
  switch (form) {
    case "hermes": {
      const [mark, end] = toolMarks.hermes;
      const open = quote('\n{"name": "');
      const close = quote(`}\n${end}`);
      lines.push(
        `begin[lazy]: /(?s:.*)<tool_call>/`,
        `first: ${quote(mark)}`,
        `calls: call${more("next")}`,
        `next: ${quote(`\n${mark}`)} call`,
        `call: ${open} function ${close}`,
      );
      break;
    }
    case "mistral":
      lines.push(
        String.raw`begin[lazy]: /(?s:.*)\[TOOL_CALLS\]/`,
        `first: ${quote(toolMarks.mistral[0])}`,
        `calls: / ?\\[/ call${more("next")} "]"`,
        `next: ", " call`,
        `call: ${quote('{"name": "')} function "}"`,
      );
      break;
    case "llama":
      lines.push(
        String
          .raw`begin[lazy]: /[ \t\r\n]*(<\|python_tag\|>)?[ \t\r\n]*\{[ \t\r\n]*"name"[ \t\r\n]*:[ \t\r\n]*"/`,
        `first: ${quote('{"name": "')}`,
        `calls: function "}"`,
      );
      break;
    default:
      throw new ConstraintError(`tool_calls: form is ${JSON.stringify(form)}`);
  }
  lines.push(`function: ${tools.map((_, i) => `function_${i}`).join(" | ")}`);
  for (const [i, { name, parameters, loose }] of tools.entries()) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
      throw new ConstraintError(
        `tool_calls: name ${JSON.stringify(name)}, expected 1 to 64 letters, digits, "_" or "-"`,
      );
    }
    lines.push(
      `function_${i}: ${quote(`${name}", "${argumentsKey}": `)} arguments_${i}`,
      `arguments_${i}: %json ${
        JSON.stringify({
          ...argumentsSchema(parameters, loose ? keeping : "all"),
          "x-guidance": { whitespace_pattern: WHITESPACE },
        })
      }`,
    );
  }
  return lines.join("\n");
}

function answerSchema(
  answer: NonNullable<ToolCallConstraint["answer"]>,
  keeping: SchemaKeeping,
): JsonSchema {
  const schema = answer.kind === "json_object" ? { type: "object" } : readJsonSchema(
    answer.schema,
    answer.loose ? keeping === "type" ? "shape" : keeping : "all",
  );
  if (schema === false) throw new ConstraintError("JSON schema: false allows nothing");
  const blanks = { whitespace_pattern: ANSWER_WHITESPACE };
  return { ...(schema === true ? {} : schema), "x-guidance": blanks };
}

/** The schema of a function's arguments, which are an object whatever else it says; without one there are none. */
function argumentsSchema(
  parameters: unknown,
  keeping: SchemaKeeping,
): Record<string, unknown> {
  if (parameters === undefined) {
    return { type: "object", properties: {}, additionalProperties: false };
  }
  if (typeof parameters !== "object" || parameters === null || Array.isArray(parameters)) {
    throw new ConstraintError("JSON schema: expected an object that describes an object");
  }
  const { type } = parameters as { type?: unknown };
  if (
    type !== undefined && !(type === "object" || Array.isArray(type) && type.includes("object"))
  ) {
    throw new ConstraintError(
      `JSON schema: #/type is ${JSON.stringify(type)}, expected "object": arguments are one`,
    );
  }
  return { ...readJsonSchema(parameters, keeping) as Record<string, unknown>, type: "object" };
}

/** `text` as a string of Lark, whose escapes are those of JSON. */
function quote(text: string): string {
  return JSON.stringify(text);
}
