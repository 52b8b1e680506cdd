import type { ToolForm } from "../common/tools.ts";

/** How tools stand in the chats of a model. */
export interface ToolTemplate {
  /** How the model writes calls. */
  form: ToolForm;
  /** Whether its template writes tools itself; otherwise they are written into the messages. */
  native: boolean;
  /** Whether it writes calls and results itself, as all that write tools do but SmolLM3's. */
  calls: boolean;
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
    const calls = /\btool_calls\b/.test(source);
    if (has("[TOOL_CALLS]")) return { form: "mistral", native: true, calls };
    if (has("<tool_call>") && has("arguments")) return { form: "hermes", native: true, calls };
    if (has('"parameters"') && has("<|python_tag|>", "ipython")) {
      return { form: "llama", native: true, calls };
    }
  }
  return { form: "hermes", native: false, calls: false };
}
