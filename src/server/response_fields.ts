import { ApiError } from "./api_error.ts";
import type { ResponseRequest } from "./responses_schema.ts";
import type { ToolRequest } from "./tool_use.ts";

/** The fields of a response that have to do with tools and with the text's form, as a chat has them. */
export function asChatFields(
  { tools, tool_choice: choice, parallel_tool_calls, text }: ResponseRequest,
): ToolRequest {
  const format = text?.format;
  return {
    tools: tools?.map(({ type, ...rest }) => ({ type, function: rest })),
    tool_choice: typeof choice === "object" && choice !== null
      ? { type: choice.type, function: { name: choice.name } }
      : choice,
    parallel_tool_calls,
    response_format: format?.type === "json_schema"
      ? { type: format.type, json_schema: format }
      : format,
  };
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
  ).replace(/^response_format\b/, "text.format");
}
