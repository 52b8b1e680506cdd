import { ConstraintError } from "../common/errors.ts";
import { type ToolForm, toolMarks } from "../common/tools.ts";
import { grammarSource } from "../constraint/grammar_source.ts";
import type { ModelInfo, ToolCallConstraint, ToolDefinition } from "../engine/types.ts";
import { toolTemplate } from "../tokenizer/tool_template.ts";
import { ApiError } from "./api_error.ts";
import type { ChatRequest } from "./chat_schema.ts";
import { checkDepth } from "./check_depth.ts";
import { toConstraint } from "./constraint_schema.ts";
import type { SplitterOptions } from "./tool_call_splitter.ts";

/** Of the grammars of all tools, each for itself: above what one grammar may have, so that reading schemas takes no time that is not bounded. */
const mostCharacters = 192 * 1024;

/** What a chat with tools asks of the engine, and how its answer is read. */
export interface ToolUse {
  /** Shown to the model. */
  tools: ToolDefinition[];
  /** Absent where calls are taken as the model writes them. */
  constraint?: ToolCallConstraint;
  /** Control tokens that are part of the text. */
  visible: string[];
  splitter: SplitterOptions;
}

/** The fields of a chat that have to do with tools. */
export type ToolRequest = Pick<
  ChatRequest,
  | "tools"
  | "tool_choice"
  | "parallel_tool_calls"
  | "response_format"
  | "structured_outputs"
  | "ignore_eos"
>;

/**
 * How the tools of a request are used; undefined where there are none, or none may be called.
 * Throws `ApiError` 400 for tools that cannot be kept, beside fields that do not go with them, or that a choice needs and are not there.
 */
export function toToolUse(body: ToolRequest, info: ModelInfo): ToolUse | undefined {
  const tools = toDefinitions(body.tools ?? []);
  const { choice, allowed, one } = toChoice(body.tool_choice ?? "auto", tools);
  if (tools.length === 0) {
    if (choice === "required") throw invalid("tool_choice", '"required" needs tools, got none');
    return undefined;
  }
  if (choice === "none") return undefined;
  checkCompanions(body);

  const { form } = toolTemplate(info.chatTemplate ?? "");
  const constrained = info.canConstrain !== false;
  const answer = choice === "auto" ? toAnswer(body, form, constrained) : undefined;
  const checked = toGrammarTools(body.tools ?? []);
  const constraint: ToolCallConstraint = {
    kind: "tool_calls",
    form,
    tools: checked.filter(({ name }) => allowed.has(name)),
    choice,
    parallel: !one && body.parallel_tool_calls !== false,
    ...(answer && { answer }),
  };
  checkConstraint(constraint, checked);
  if (!constrained && choice !== "auto") {
    throw invalid(
      "tool_choice",
      'only "auto" and "none" are supported without the native library, which this server lacks',
    );
  }
  return {
    tools,
    ...(constrained && { constraint }),
    visible: [...toolMarks[form]],
    splitter: {
      form,
      names: new Set(constraint.tools.map(({ name }) => name)),
      most: constraint.parallel ? Infinity : 1,
      constrained,
      required: constrained && choice !== "auto",
      ...(answer && { leading: true }),
    },
  };
}

interface Choice {
  choice: "none" | "auto" | "required";
  /** Names of the tools that may be called. */
  allowed: ReadonlySet<string>;
  /** Whether it is one call that is asked for. */
  one?: boolean;
}

function toChoice(
  given: NonNullable<ToolRequest["tool_choice"]>,
  tools: readonly ToolDefinition[],
): Choice {
  const names = new Set(tools.map(({ name }) => name));
  if (typeof given === "string") return { choice: given, allowed: names };
  const known = (name: string, param: string) => {
    if (names.has(name)) return name;
    throw invalid(param, `${JSON.stringify(name)} is none of the tools${list(tools)}`);
  };
  if (given.type === "function") {
    const name = known(given.function.name, "tool_choice.function.name");
    return { choice: "required", allowed: new Set([name]), one: true };
  }
  const { mode, tools: some } = given.allowed_tools;
  const allowed = some.map((tool, i) =>
    known(tool.function.name, `tool_choice.allowed_tools.tools.${i}.function.name`)
  );
  return { choice: mode, allowed: new Set(allowed) };
}

function toDefinitions(tools: NonNullable<ChatRequest["tools"]>): ToolDefinition[] {
  const names = new Set<string>();
  return tools.map(({ function: { name, description, parameters } }, i) => {
    if (names.has(name)) {
      throw invalid(`tools.${i}.function.name`, `${JSON.stringify(name)} is another tool's name`);
    }
    names.add(name);
    checkDepth(parameters, `tools.${i}.function.parameters`);
    return {
      name,
      ...(typeof description === "string" && { description }),
      ...(parameters && { parameters }),
    };
  });
}

/** The tools as calls are held to them: to all of the schema only where that is asked for, since schemas of others (MCP) say much that is not kept. */
function toGrammarTools(tools: NonNullable<ChatRequest["tools"]>): ToolCallConstraint["tools"] {
  return tools.map(({ function: { name, parameters, strict } }) => ({
    name,
    ...(parameters && { parameters }),
    ...(!strict && { loose: true }),
  }));
}

/** Refuses each tool's own schema by its path, then what all are together. */
function checkConstraint(
  constraint: ToolCallConstraint,
  tools: ToolCallConstraint["tools"],
): void {
  const size = (
    param: string,
    whole: ToolCallConstraint,
    checked: ToolCallConstraint["tools"],
  ) => {
    try {
      return grammarSource({ ...whole, tools: checked }).text.length;
    } catch (error) {
      if (!(error instanceof ConstraintError)) throw error;
      throw invalid(param, error.message, "invalid_constraint");
    }
  };
  const alone = { ...constraint, answer: undefined };
  let total = 0;
  for (const [i, tool] of tools.entries()) {
    total += size(`tools.${i}.function.parameters`, alone, [tool]);
    if (total > mostCharacters) {
      const most = `more than ${mostCharacters} characters of grammar`;
      throw invalid("tools", `their schemas are together ${most}`, "invalid_constraint");
    }
  }
  size("tools", constraint, tools);
}

/** What an answer that calls nothing has to be, by `response_format`. Calls are of their own schemas. */
function toAnswer(
  body: ToolRequest,
  form: ToolForm,
  constrained: boolean,
): ToolCallConstraint["answer"] {
  const answer = toConstraint({ response_format: body.response_format });
  if (answer?.kind !== "json_object" && answer?.kind !== "json_schema") return undefined;
  const refused = (why: string) =>
    invalid("response_format", `cannot be combined with tools where tool_choice is auto ${why}`);
  if (!constrained) throw refused("without the native library, which this server lacks");
  if (form === "llama") throw refused("for this model, whose calls are JSON objects too");
  return answer;
}

function checkCompanions(body: ToolRequest): void {
  const rest = "cannot be combined with tools, unless tool_choice is none";
  if (body.structured_outputs) throw invalid("structured_outputs", rest);
  if (body.ignore_eos) throw invalid("ignore_eos", rest);
}

function list(tools: readonly ToolDefinition[]): string {
  if (tools.length === 0) return ", of which there are none";
  const names = tools.slice(0, 10).map(({ name }) => name).join(", ");
  return `: ${names}${tools.length > 10 ? ", …" : ""}`;
}

function invalid(param: string, message: string, code?: string): ApiError {
  return ApiError.invalid(`${param}: ${message}`, param, code);
}
