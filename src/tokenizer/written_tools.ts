import type { ToolDefinition } from "../common/tools.ts";
import type { ChatTurn } from "./chat_template.ts";

/**
 * A chat for a template that knows no tools: they are described at the end of the system message, calls and results are written into
 * messages, in the form of Hermes and Qwen. Messages without them stay as they are.
 * @param takesSystem whether there may be a system message; if not, the first message begins with the description
 */
export function writtenTools(
  messages: readonly ChatTurn[],
  tools: readonly ToolDefinition[],
  takesSystem = true,
): ChatTurn[] {
  const turns: ChatTurn[] = [];
  let results: string[] = [];
  const flush = () => {
    if (results.length > 0) turns.push({ role: "user", content: results.join("\n") });
    results = [];
  };
  for (const { toolCalls, toolCallId: _, ...message } of messages) {
    if (message.role === "tool") {
      // Several results are one turn: many templates want turns to alternate.
      results.push(`<tool_response>\n${closed(message.content)}\n</tool_response>`);
      continue;
    }
    flush();
    const calls = (toolCalls ?? []).map(({ name, arguments: values }) =>
      `<tool_call>\n${line({ name, arguments: values })}\n</tool_call>`
    );
    const parts = calls.length > 0 && message.content === "" ? calls : [message.content, ...calls];
    turns.push({ ...message, content: parts.join("\n") });
  }
  flush();
  if (tools.length === 0) return turns;
  const [first, ...rest] = turns;
  const described = description(tools);
  if (first?.role === "system") {
    return [{ ...first, content: `${first.content}\n\n${described}` }, ...rest];
  }
  return takesSystem || !first
    ? [{ role: "system", content: described }, ...turns]
    : [{ ...first, content: `${described}\n\n${first.content}` }, ...rest];
}

function description(tools: readonly ToolDefinition[]): string {
  const lines = tools.map((tool) => line({ type: "function", function: tool }));
  return `# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
${lines.join("\n")}
</tools>

For each function call, return a JSON object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <arguments-as-json-object>}
</tool_call>`;
}

/** `value` as one line of JSON. */
function line(value: unknown): string {
  return closed(JSON.stringify(value));
}

/** `text` with the tags in it written as JSON may write them, so that they end nothing. */
function closed(text: string): string {
  return text.replace(/<(?=\/?tool(?:s|_call|_response)>)/g, "\\u003c");
}
