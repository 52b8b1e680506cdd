import type { ChatMessage, ToolCall } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { callArguments } from "./call_arguments.ts";
import type { InputItem, InputPart } from "./response_input_item.ts";

type CallItem = Extract<InputItem, { type: "function_call" }>;

/**
 * The chat that items stand for, without `instructions`. Calls join the assistant's message before them; one that could not be sent back, as one that
 * was cut, is none.
 */
export function toChat(items: readonly InputItem[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  const names = new Map<string, string>();
  /** Those of the last message, if it is an assistant's that an item before has given a call. */
  let calls: ToolCall[] | undefined;
  for (const item of items) {
    switch (item.type) {
      case "message":
        calls = undefined;
        messages.push({
          role: item.role === "developer" ? "system" : item.role,
          content: toText(item.content),
        });
        break;
      case "function_call": {
        const call = toToolCall(item);
        if (calls === undefined) {
          const spoken = messages.at(-1)?.role === "assistant" ? messages.pop() : undefined;
          messages.push({ role: "assistant", content: "", ...spoken });
          if (call === undefined) break;
          calls = [...spoken?.toolCalls ?? []];
          messages.push({ ...messages.pop()!, toolCalls: calls });
        }
        if (call === undefined) break;
        names.set(call.id, call.name);
        calls.push(call);
        break;
      }
      case "function_call_output": {
        const { call_id: toolCallId } = item;
        calls = undefined;
        messages.push({
          role: "tool",
          content: toText(item.output),
          name: names.get(toolCallId),
          toolCallId,
        });
      }
    }
  }
  return messages;
}

/** A call as a chat has it; undefined for one that could not be sent back. */
export function toToolCall(
  { call_id: id, name, arguments: text, status }: CallItem,
): ToolCall | undefined {
  if (status !== "completed") return undefined;
  try {
    return { id, name, ...callArguments(text, "arguments") };
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}

function toText(content: string | readonly InputPart[]): string {
  if (typeof content === "string") return content;
  return content.map((part) => part.type === "refusal" ? part.refusal : part.text).join("");
}
