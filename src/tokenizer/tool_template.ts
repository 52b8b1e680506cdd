import type { ToolForm } from "../common/tools.ts";

/** How tools stand in the chats of a model. */
export interface ToolTemplate {
  /** How the model writes calls. */
  form: ToolForm;
  /** Whether its template writes tools, calls and results itself; otherwise they are written into the messages. */
  native: boolean;
}

/**
 * How the chat template `source` (Jinja) deals with tools. One that does not know them, or writes calls in a form that is not known here,
 * counts as `hermes`, not native.
 */
export function toolTemplate(source: string): ToolTemplate {
  const has = (...texts: string[]) => texts.some((text) => source.includes(text));
  // Qwen3-Coder and GLM write XML inside <tool_call>, later Mistral models `[TOOL_CALLS]name[ARGS]{…}`.
  const other = has("<function=", "<parameter=", "<arg_key>", "functools[", "[ARGS]", "[CALL_ID]");
  if (/\btools\b/.test(source) && !other) {
    if (has("[TOOL_CALLS]")) return { form: "mistral", native: true };
    if (has("<tool_call>") && has("arguments")) return { form: "hermes", native: true };
    if (has('"parameters"') && has("<|python_tag|>", "ipython")) {
      return { form: "llama", native: true };
    }
  }
  return { form: "hermes", native: false };
}
