import type { ChatMessage, ToolCall } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { callArguments } from "./call_arguments.ts";
import type { ResponseItem } from "./response_item.ts";
import type { OutputItem } from "./responses_schema.ts";

/** What the items of a request stand on. */
export interface InputContext {
  /** The conversation before. */
  before: readonly ChatMessage[];
  /** An item of a stored response; undefined when there is none. */
  stored(id: string): OutputItem | undefined;
}

/**
 * The conversation that `input` makes, without `instructions`. Calls join the assistant's message before them. Throws `ApiError` 400 for results of calls
 * that there are not, arguments that are no object, and references to nothing.
 */
export function toConversation(
  input: readonly ResponseItem[],
  { before, stored }: InputContext,
): ChatMessage[] {
  const messages = [...before];
  const names = new Map<string, string>();
  for (const { toolCalls = [] } of before) {
    for (const { id, name } of toolCalls) names.set(id, name);
  }
  /** Those of the last message, if it is an assistant's that an item before has given a call. */
  let calls: ToolCall[] | undefined;
  for (const [i, given] of input.entries()) {
    const item = given.type === "item_reference" ? referred(given.id, stored, i) : given;
    switch (item.type) {
      case "message":
        calls = undefined;
        messages.push({
          role: item.role === "developer" ? "system" : item.role,
          content: toText(item.content),
        });
        break;
      case "function_call": {
        const { call_id: id, name } = item;
        names.set(id, name);
        const field = item === given ? "arguments" : "id";
        const call = { id, name, arguments: callArguments(item.arguments, `input.${i}.${field}`) };
        if (calls === undefined) {
          const spoken = messages.at(-1)?.role === "assistant" ? messages.pop() : undefined;
          calls = [...spoken?.toolCalls ?? []];
          messages.push({ role: "assistant", content: "", ...spoken, toolCalls: calls });
        }
        calls.push(call);
        break;
      }
      case "function_call_output": {
        const name = names.get(item.call_id);
        if (name === undefined) {
          throw invalid(`input.${i}.call_id`, `${shown(item.call_id)} is no call before it`);
        }
        const content = toText(item.output);
        calls = undefined;
        messages.push({ role: "tool", content, name, toolCallId: item.call_id });
      }
    }
  }
  if (messages.length === 0) throw invalid("input", "expected a message or a call (got neither)");
  return messages;
}

type Plain = Exclude<ResponseItem, { type: "item_reference" }>;

function referred(id: string, stored: InputContext["stored"], i: number): Plain {
  const item = stored(id);
  if (item === undefined) {
    throw invalid(`input.${i}.id`, `${shown(id)} is no item of a response that is stored here`);
  }
  return item;
}

function toText(content: Extract<Plain, { type: "message" }>["content"]): string {
  if (typeof content === "string") return content;
  return content.map((part) => part.type === "refusal" ? part.refusal : part.text).join("");
}

function shown(id: string): string {
  return JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id);
}

function invalid(param: string, message: string): ApiError {
  return ApiError.invalid(`${param}: ${message}`, param);
}
