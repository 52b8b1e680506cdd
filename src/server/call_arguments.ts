import type { ToolCall } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { parseWritten } from "../common/written_number.ts";
import { checkDepth } from "./check_depth.ts";

/** The arguments of a call, from the text that a client sends back in the field `param`. Throws `ApiError` 400 for what is no JSON object. */
export function callArguments(
  text: string,
  param: string,
): Pick<ToolCall, "arguments" | "written"> {
  // Some clients send this for a function without arguments.
  if (text.trim() === "") return { arguments: {} };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
    throw ApiError.invalid(
      `${param}: expected a JSON object as text (got ${JSON.stringify(shown)})`,
      param,
    );
  }
  checkDepth(value, param);
  return {
    arguments: value as ToolCall["arguments"],
    ...(!parseWritten(text).plain && { written: text }),
  };
}
