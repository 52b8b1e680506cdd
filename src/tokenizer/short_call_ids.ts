import type { ChatTurn } from "./chat_template.ts";

/** `messages` with ids of calls as Mistral's templates demand them, nine letters and digits: the place of each in the chat. */
export function shortCallIds(messages: readonly ChatTurn[]): ChatTurn[] {
  const places = new Map<string, string>();
  const short = (id: string) => {
    const place = places.get(id) ?? `call${String(places.size).padStart(5, "0")}`;
    places.set(id, place);
    return place;
  };
  return messages.map((message) => ({
    ...message,
    ...(message.toolCalls && {
      toolCalls: message.toolCalls.map((call) => ({ ...call, id: short(call.id) })),
    }),
    ...(message.toolCallId !== undefined && { toolCallId: short(message.toolCallId) }),
  }));
}
