import type { AttentionBudget, KvContext } from "../../ffi/kv_context.ts";
import type { IndexedPrefix } from "./indexed_prefix.ts";

/**
 * The retrieval of one sequence, from the first step of its prompt until it leaves. It decodes by retrieval while its prefix is ready,
 * densely before.
 */
export class KvSession {
  /** The page after the last one reported as no longer needed on the GPU. */
  vacated: number;

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
}
