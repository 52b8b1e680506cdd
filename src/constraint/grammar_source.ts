import { ConstraintError } from "../common/errors.ts";
import { bareGrammar } from "./bare_grammar.ts";
import { readJsonSchema } from "./read_json_schema.ts";
import type { SchemaKeeping } from "./schema_keeping.ts";
import type { TextConstraint } from "./text_constraint.ts";
import type { ToolCallConstraint } from "./tool_call_constraint.ts";
import { toolGrammar } from "./tool_grammar.ts";

/** A constraint as the automaton's compiler reads it. */
export interface GrammarSource {
  kind: "json_schema" | "regex" | "lark";
  text: string;
  /** What to compile instead where the compiler refuses this, and that is not to be an error. */
  looser?: () => GrammarSource;
}

/** Characters of a constraint's source at most: larger ones are beyond the compiler's own limits anyway. */
const MOST_CHARACTERS = 128 * 1024;

const MOST_CONJUNCTIONS = 5;

/**
 * What to compile for `constraint`.
 * @throws {ConstraintError} for one that cannot be kept.
 */
export function grammarSource(constraint: TextConstraint | ToolCallConstraint): GrammarSource {
  return sourceKeeping("most", constraint);
}

/** @param keeping of those schemas of which not all has to be kept */
function sourceKeeping(
  keeping: SchemaKeeping,
  constraint: TextConstraint | ToolCallConstraint,
): GrammarSource {
  const source = toSource(constraint, keeping);
  if (source.text.length > MOST_CHARACTERS) {
    throw new ConstraintError(
      `${constraint.kind}: ${source.text.length} characters, at most ${MOST_CHARACTERS} may be`,
    );
  }
  const next = isLoose(constraint) && looser[constraint.kind]?.[keeping];
  return next ? { ...source, looser: () => sourceKeeping(next, constraint) } : source;
}

/**
 * What to keep where a compiler refused to keep so much of loose schemas. Tools may be anybody's, and one that is never called should not fail the whole
 * request; an answer of any shape is of no use to who asked for one.
 */
const looser: { [kind: string]: { [keeping in SchemaKeeping]?: SchemaKeeping } } = {
  json_schema: { most: "shape" },
  tool_calls: { most: "shape", shape: "type" },
};

function isLoose(constraint: TextConstraint | ToolCallConstraint): boolean {
  switch (constraint.kind) {
    case "json_schema":
      return constraint.loose === true;
    case "tool_calls":
      return constraint.tools.some((tool) => tool.loose) ||
        constraint.answer !== undefined && isLoose(constraint.answer);
    default:
      return false;
  }
}

function toSource(
  constraint: TextConstraint | ToolCallConstraint,
  keeping: SchemaKeeping,
): GrammarSource {
  switch (constraint?.kind) {
    case "json_object":
      return { kind: "json_schema", text: '{"type":"object"}' };
    case "json_schema":
      return {
        kind: "json_schema",
        text: JSON.stringify(
          readJsonSchema(constraint.schema, constraint.loose ? keeping : "all"),
        ),
      };
    case "regex":
      return { kind: "regex", text: wholeText(text(constraint.pattern, "regex")) };
    case "choice": {
      const { choices } = constraint;
      if (!Array.isArray(choices) || choices.length === 0) {
        throw new ConstraintError("choice: expected an array of strings, not empty");
      }
      return {
        kind: "regex",
        text: choices.map((choice) => escape(text(choice, "choice"))).join("|"),
      };
    }
    case "grammar":
      return { kind: "lark", text: checkGrammar(text(constraint.grammar, "grammar")) };
    case "tool_calls":
      return { kind: "lark", text: toolGrammar(constraint, keeping) };
    default:
      throw new ConstraintError(
        `constraint is ${
          JSON.stringify(constraint)
        }, expected a kind of json_object, json_schema, regex, choice or grammar`,
      );
  }
}

function text(value: unknown, what: string): string {
  if (typeof value === "string" && value !== "" && value.isWellFormed()) return value;
  throw new ConstraintError(`${what}: expected a string, not empty and without lone surrogates`);
}

/**
 * Refuses what makes a grammar's text unbounded work or no text: conjunctions and complements of terminals beyond a few (each about doubles
 * the time), schemas and settings within it, which are not checked there.
 */
function checkGrammar(grammar: string): string {
  const bare = bareGrammar(grammar);
  const directive = bare.match(/%(?:json|llguidance)\b/)?.[0];
  if (directive) throw new ConstraintError(`grammar: ${directive} is not supported`);
  const count = bare.match(/[&~]/g)?.length ?? 0;
  if (count > MOST_CONJUNCTIONS) {
    throw new ConstraintError(
      `grammar: ${count} times & or ~ between terminals, at most ${MOST_CONJUNCTIONS} may be`,
    );
  }
  return grammar;
}

/** `pattern` without anchors at its ends, which say what holds anyway. */
function wholeText(pattern: string): string {
  if (slashesBefore(pattern, pattern.length) % 2 === 1) {
    throw new ConstraintError("regular expression: ends in a backslash that escapes nothing");
  }
  // An alternative beside an anchored one is not anchored by it.
  if (/\|/.test(pattern)) return pattern;
  const end = pattern.length - 1;
  const anchored = pattern.endsWith("$") && slashesBefore(pattern, end) % 2 === 0;
  return pattern.slice(Number(pattern.startsWith("^")), anchored ? end : undefined);
}

/** Backslashes right before `end`. */
function slashesBefore(pattern: string, end: number): number {
  let at = end;
  while (pattern[at - 1] === "\\") at--;
  return end - at;
}

function escape(literal: string): string {
  return literal.replace(/[\\^$.*+?()[\]{}|/&~#\-]/g, "\\$&");
}
