/** The native library's classes. @module */

export {
  AttentionIndex,
  type AttentionIndexInfo,
  type AttentionIndexOptions,
  type SearchHits,
  type SearchOptions,
} from "./attention_index.ts";
export { kernelsIsa } from "./kernels_isa.ts";
export { loadNative, nativeProblem } from "./load.ts";
export type { SearchStrategy } from "./search_strategy.ts";
