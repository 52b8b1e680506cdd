import type { ChatMessage, ToolCall } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { callArguments } from "./call_arguments.ts";
import type { ChatRequest } from "./chat_schema.ts";

type WireMessage = ChatRequest["messages"][number];

/**
 * Messages as a chat template sees them. Throws `ApiError` 400 for calls that are not an assistant's or whose arguments are no object, and for
 * results that belong to no call of the assistant's message before them.
 */
export function toChatMessages(messages: ChatRequest["messages"]): ChatMessage[] {
  /** Names of the functions that the latest message of an assistant called, by the ids of the calls. */
  let called = new Map<string, string>();
  return messages.map((message, i) => {
    const { role, name } = message;
    const at = `messages.${i}`;
    const toolCalls = toToolCalls(message, at);
    if (message.content === undefined && toolCalls.length === 0) {
      throw invalid(`${at}.content`, "expected a string or an array of text parts (got nothing)");
    }
    if (role !== "tool") called = new Map(toolCalls.map((call) => [call.id, call.name]));
    const result = role === "tool" ? toResult(message, called, at) : undefined;
    const speaker = name ?? result?.name;
    return {
      role: role === "developer" ? "system" : role,
      content: toText(message.content),
      ...(speaker === undefined ? {} : { name: speaker }),
      ...(toolCalls.length > 0 && { toolCalls }),
      ...(result && { toolCallId: result.id }),
    };
  });
}

function toText(content: WireMessage["content"]): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.type === "refusal" ? part.refusal : part.text).join("");
}

function toToolCalls({ role, tool_calls }: WireMessage, at: string): ToolCall[] {
  if (!tool_calls || tool_calls.length === 0) return [];
  if (role !== "assistant") {
    throw invalid(`${at}.tool_calls`, `a message of role ${role} has none, only an assistant's`);
  }
  return tool_calls.map(({ id, function: { name, arguments: text } }, k) => {
    const param = `${at}.tool_calls.${k}.function.arguments`;
    return { id, name, ...callArguments(text, param) };
  });
}

function toResult(
  { tool_call_id: id }: WireMessage,
  called: ReadonlyMap<string, string>,
  at: string,
): { id: string; name: string } {
  const param = `${at}.tool_call_id`;
  if (typeof id !== "string") throw invalid(param, "expected the id of the call (got nothing)");
  const name = called.get(id);
  if (name === undefined) {
    const shown = JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id);
    throw invalid(param, `${shown} is no call of the assistant's message before the results`);
  }
  return { id, name };
}

function invalid(param: string, message: string): ApiError {
  return ApiError.invalid(`${param}: ${message}`, param);
}
