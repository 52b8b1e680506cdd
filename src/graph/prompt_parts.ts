import type { PromptPart } from "../engine/types.ts";
import type { ChainNode } from "./node.ts";

/**
 * The whole context of a chain: its call so far, then its own fills. Constants come from whoever wrote the function
 * and may hold control tokens; values never do. Earlier outputs go back as the tokens they were, so that the engine
 * finds their pages again.
 */
export function promptParts(chain: ChainNode): PromptPart[] {
  const parts: PromptPart[] = [];
  if (chain.previous) {
    parts.push(...promptParts(chain.previous));
    const raw = chain.previous.raw;
    if (raw?.ids) parts.push({ type: "tokens", ids: raw.ids });
    else parts.push({ type: "text", text: raw?.text ?? chain.previous.generate.output.value });
  }
  for (const fill of chain.fills) {
    if (fill.kind === "constant") parts.push({ type: "text", text: fill.text, special: true });
    else if (fill.variable.value !== "") parts.push({ type: "text", text: fill.variable.value });
  }
  return parts;
}
