import { ApiError } from "./api_error.ts";
import { callArguments } from "./call_arguments.ts";
import type { InputItem, InputPart } from "./response_input_item.ts";
import type { ResponseItem } from "./response_item.ts";
import { toToolCall } from "./response_chat.ts";
import { wireId } from "./wire_id.ts";

/** What the items of a request stand on. */
export interface InputContext {
  /** The conversation before. */
  before: readonly InputItem[];
  /** An item of a stored response; undefined when there is none. */
  stored(id: string): InputItem | undefined;
}

/**
 * The items of a conversation, those before among them, with what references stand for and an id each. Throws `ApiError` 400 for results of calls
 * that there are not, arguments that are no object, references to nothing, and where there is no item.
 */
export function readInput(
  input: readonly ResponseItem[],
  { before, stored }: InputContext,
): InputItem[] {
  const items = [...before];
  const calls = new Set<string>();
  for (const item of before) {
    if (item.type === "function_call" && toToolCall(item)) calls.add(item.call_id);
  }
  for (const [i, given] of input.entries()) {
    const item = toInputItem(given, stored, i);
    if (item === undefined) continue;
    if (item.type === "function_call") {
      const field = given.type === "item_reference" ? "id" : "arguments";
      callArguments(item.arguments, `input.${i}.${field}`);
      calls.add(item.call_id);
    }
    if (item.type === "function_call_output" && !calls.has(item.call_id)) {
      throw invalid(`input.${i}.call_id`, `${shown(item.call_id)} is no call before it`);
    }
    items.push(item);
  }
  if (items.length === 0) throw invalid("input", "expected a message or a call (got neither)");
  return items;
}

/** Undefined for items that are read over. */
function toInputItem(
  given: ResponseItem,
  stored: InputContext["stored"],
  i: number,
): InputItem | undefined {
  const status = "completed";
  switch (given.type) {
    case "item_reference": {
      const item = stored(given.id);
      if (item !== undefined) return item;
      throw invalid(
        `input.${i}.id`,
        `${shown(given.id)} is no item of a response that is stored here`,
      );
    }
    case "message": {
      const { type, role, content } = given;
      return { type, id: wireId("msg"), status, role, content: toParts(content, role) };
    }
    case "function_call":
      return { ...given, id: wireId("fc"), status };
    case "function_call_output": {
      const { output } = given;
      const parts = typeof output === "string" ? output : toParts(output, "user");
      return { ...given, id: wireId("fco"), status, output: parts };
    }
    case "reasoning":
      return undefined;
  }
}

type Content = Extract<ResponseItem, { type: "message" }>["content"];

function toParts(content: Content, role: string): InputPart[] {
  const given = typeof content === "string" ? [{ type: "text" as const, text: content }] : content;
  return given.map((part) => {
    if (part.type === "refusal") return part;
    const { text } = part;
    return role === "assistant"
      ? { type: "output_text", text, annotations: [] }
      : { type: "input_text", text };
  });
}

function shown(id: string): string {
  return JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id);
}

function invalid(param: string, message: string): ApiError {
  return ApiError.invalid(`${param}: ${message}`, param);
}
