import type { ToolDefinition, ToolForm } from "../common/tools.ts";
import type { TextConstraint } from "./text_constraint.ts";

/** What a generated text must be where tools may be called: text, calls, or text that turns into calls. */
export interface ToolCallConstraint {
  /** Tells this constraint from others. */
  kind: "tool_calls";
  /** How the calls are written. */
  form: ToolForm;
  /** What may be called. Keywords of the schema that cannot be kept are refused; if `loose`, they are ignored. */
  tools: readonly (Pick<ToolDefinition, "name" | "parameters"> & { loose?: boolean })[];
  /** Whether the text has to be calls, or may also be none or turn into them. */
  choice: "auto" | "required";
  /** Whether there may be several calls. The `llama` form has one in any case. */
  parallel: boolean;
  /**
   * What a text without calls has to be; with it a text is that or calls, not one that turns into the other. Only where the choice is `auto`,
   * and not in the `llama` form, whose calls are JSON too. Default: any text.
   */
  answer?: Extract<TextConstraint, { kind: "json_object" | "json_schema" }>;
}
