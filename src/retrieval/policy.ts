import type { AttentionBudget } from "../../ffi/kv_context.ts";
import type { AdapterClass } from "../gpu/adapter_class.ts";

/** How a request wants its context attended to while decoding. */
export type RetrievalPolicy = { kind: "auto" } | { kind: "dense" } | {
  kind: "retrieval";
  /** Keys retrieved per query head and token. */
  k?: number;
  /** Share of attention to keep: outputs are off by 1 − `mass` at most, on average; 1 is all of it. */
  mass?: number;
};

/** Share of attention that is kept by default: an output within 1 % of full attention's, on average. */
export const DEFAULT_MASS = 0.99;

/**
 * Prompt length in tokens from which `auto` decodes by retrieval. Software whose shaders compute the layers (2 x86 cores with AVX-512, sparrow-tiny: 8 layers,
 * 6 heads of 64), ms a token, dense against retrieval: contexts whose attention is even 13 : 13 at 4K, 15 : 11 at 8K, 22 : 12 at 16K, 37 : 15 at 32K,
 * 136 : 30 at 128K; prose of 13K tokens 29 : 14. Indexes take 0.4 s at 8K and twice that at 16K, a fiftieth of reading such a prompt, and pay
 * after some fifty tokens. Real GPUs read a token's keys and values faster than a CPU searches them (H200 with 16 cores: 2.6 : 6.9 at 8K,
 * 3.6 : 14.7 at 128K; 12 : 101 for an 8B shape at 128K), so there `auto` stays dense, and retrieval is for contexts that GPU memory does not hold.
 */
export const crossoverTokens: Readonly<Record<AdapterClass, number>> = {
  software: 8192,
  integrated: Infinity,
  discrete: Infinity,
};

/**
 * The same where the native library computes the layers. There (the cores and model above) it is 6.2 : 6.4 at 8K, 8.9 : 6.9 at 16K, 14 : 8.6 at 32K, 27 : 13 at 64K, 52 : 22
 * at 128K, prose of 13K tokens 7.8 : 6.7. From 32K on an index, which takes seconds that decoding shares the cores with, pays within some five hundred tokens; before, seldom.
 */
export const NATIVE_CROSSOVER_TOKENS = 32768;

/** Whether a prompt of `promptTokens` is decoded by retrieval. */
export function wantsRetrieval(
  policy: RetrievalPolicy,
  promptTokens: number,
  crossover: number,
): boolean {
  return policy.kind === "retrieval" || (policy.kind === "auto" && promptTokens >= crossover);
}

/** The budget of a policy that decodes by retrieval. A fixed `k` goes before a share of mass. */
export function budgetOf(policy: RetrievalPolicy): AttentionBudget {
  if (policy.kind === "retrieval" && policy.k !== undefined) {
    return { kind: "keys", count: policy.k };
  }
  const mass = policy.kind === "retrieval" ? policy.mass ?? DEFAULT_MASS : DEFAULT_MASS;
  return mass >= 1 ? { kind: "all" } : { kind: "error", share: 1 - mass };
}
