import type { AttentionBudget, KvContext } from "../../ffi/kv_context.ts";
import type { IndexedPrefix, WrittenPage } from "./indexed_prefix.ts";
import type { PrefixShelf } from "./prefix_shelf.ts";
import type { StepSide } from "./step_side.ts";

/**
 * The retrieval of one sequence, from the first step of its prompt until it leaves. It decodes by retrieval while its prefix is ready,
 * densely before.
 */
export class KvSession {
  /** The page after the last one reported as no longer needed on the GPU. */
  vacated: number;
  /** Once the prompt of a sequence that leads is read: the pages that its prefix still lacks. */
  rest: readonly WrittenPage[] = [];

  /**
   * @param promptTokens tokens to read before the sequence decodes
   * @param stride distance between positions whose queries are sampled; 0 when another sequence reads, or has read, the prefix
   */
  constructor(
    readonly slot: number,
    readonly prefix: IndexedPrefix,
    readonly budget: AttentionBudget,
    readonly promptTokens: number,
    readonly stride: number,
  ) {
    this.vacated = prefix.firstPages;
  }

  /** Whether it fills its prefix. */
  get leads(): boolean {
    return this.stride > 0;
  }

  /** Keys and values in CPU memory. */
  get context(): KvContext {
    return this.prefix.context;
  }

  /**
   * Moves what the steps of prompt and answer have not, and has the index built. Where the cache held a long prompt and answers are short,
   * each would leave a part, and compute the prompt's end again for an index that never comes to be. Blocks.
   */
  takeRest(side: Pick<StepSide, "move">, shelf: PrefixShelf<IndexedPrefix>, wait: boolean): void {
    const { prefix, rest } = this;
    if (prefix.state !== "reading" || rest.length === 0 || !shelf.holds(rest)) return;
    side.move(rest.map(({ page }) => page), prefix.context);
    prefix.pages.push(...rest);
    prefix.build(wait);
  }
}
