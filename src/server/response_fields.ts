import { ApiError } from "./api_error.ts";
import type { ResponseRequest } from "./responses_schema.ts";
import type { ToolRequest } from "./tool_use.ts";

/** The fields of a response that have to do with tools and with the text's form, as a chat has them. */
export function asChatFields(
  { tools, tool_choice, parallel_tool_calls, text }: ResponseRequest,
): ToolRequest {
  const format = text?.format;
  return {
    tools: tools?.map(({ type, ...rest }) => ({ type, function: rest })),
    tool_choice: asChatChoice(tool_choice),
    parallel_tool_calls,
    response_format: format?.type === "json_schema"
      ? { type: format.type, json_schema: format }
      : format,
  };
}

function asChatChoice(choice: ResponseRequest["tool_choice"]): ToolRequest["tool_choice"] {
  if (typeof choice !== "object" || choice === null) return choice;
  const named = ({ type, name }: { type: "function"; name: string }) => ({
    type,
    function: { name },
  });
  if (choice.type === "function") return named(choice);
  const { type, mode, tools } = choice;
  return { type, allowed_tools: { mode, tools: tools.map(named) } };
}

/** What `run` returns; an `ApiError` about a chat's field is thrown as one about a response's. */
export function inResponseFields<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { message, param } = error;
    throw new ApiError(renamed(message), { ...error, param: param && renamed(param) });
  }
}

function renamed(text: string): string {
  return text.replace(/^tools\.(\d+)\.function\b/, "tools.$1").replace(
    /^tool_choice\.function\b/,
    "tool_choice",
  ).replace(
    /^tool_choice\.allowed_tools\.tools\.(\d+)\.function\b/,
    "tool_choice.tools.$1",
  ).replace(/^response_format\b/, "text.format");
}
