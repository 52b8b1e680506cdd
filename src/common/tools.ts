/** A function that a model may ask to be called. */
export interface ToolDefinition {
  /** Letters, digits, `_` and `-`. */
  name: string;
  /** What it does, for the model. */
  description?: string;
  /** JSON schema of its arguments, an object. */
  parameters?: { readonly [keyword: string]: unknown };
}

/** A call that a model asked for. */
export interface ToolCall {
  /** What the message with the result refers to. */
  id: string;
  /** Name of the function. */
  name: string;
  /** Its arguments. */
  arguments: { readonly [name: string]: unknown };
  /** JSON of `arguments` as it was written, where doubles do not hold its numbers: templates write these so. */
  written?: string;
}

/**
 * How a model writes calls. `hermes` (Hermes, Qwen 2.5 and 3): each as `{"name", "arguments"}` between `<tool_call>` and `</tool_call>`;
 * `mistral` (7B v0.3, Nemo, Large): an array of such objects after `[TOOL_CALLS]`; `llama` (3.1 to 3.3): the whole answer is one object
 * `{"name", "parameters"}`, perhaps after `<|python_tag|>`.
 */
export type ToolForm = "hermes" | "mistral" | "llama";

/** What begins a call where it is no JSON itself, and what ends it if something does; control tokens of some vocabularies. */
export const toolMarks = {
  hermes: ["<tool_call>", "</tool_call>"],
  mistral: ["[TOOL_CALLS]"],
  llama: ["<|python_tag|>"],
} as const satisfies Record<ToolForm, readonly string[]>;
