import type { WindowOptions } from "./window.ts";

/** How retrieval is set up. */
export interface RetrievalOptions extends Partial<WindowOptions> {
  /** Prompt length in tokens from which the policy `auto` retrieves. Default 32,768 where the native library computes the layers, 8,192 on other software adapters, never on GPUs. */
  crossover?: number;
  /**
   * Let every sequence wait for its index instead of decoding densely meanwhile. For measuring: all others wait too. Default false.
   */
  waitForIndex?: boolean;
  /** Submit attention to the window by itself, so that the GPU works on it while the CPU searches. Default: on real GPUs. */
  overlap?: boolean;
  /**
   * With `overlap`: keep a part of the GPU busy while the CPU searches, so that its driver does not lower the clock. Costs power. Default: on
   * discrete GPUs.
   */
  keepClock?: boolean;
  /**
   * Tokens that may leave the window and stay on the GPU all the same: until they are more, a prefix stays as its prompt left it, and other
   * sequences whose prompts start alike share it. Default 512.
   */
  tail?: number;
  /** Most bytes of prefixes kept in CPU memory for sequences to come. Default 2 GiB. */
  idleBytes?: number;
  /**
   * Make indexes for policies of a fixed `k` too: a graph finds the keys where that is cheaper than reading clusters, which halves the search and
   * more on many cores (they share what memory delivers). An index then takes a third more memory and four times as long: it pays where
   * requests ask for a `k` and long answers. Default false: a `k` is answered by clusters.
   */
  fixed?: boolean;
}
