import { FRESH_TOKENS } from "../retrieval/fresh_tokens.ts";
import type { BlockManager, CachedPrefix } from "./block_manager.ts";
import type { Sequence } from "./sequence.ts";
import type { StepLimits } from "./step.ts";

/**
 * What of a sequence comes from the cache. Its last token's logits are needed, those of all positions whose next tokens are to be scored
 * (keys and values do not tell them), and more of it to build an index where there is none yet.
 */
export function matchPrefix(
  blocks: BlockManager,
  { ids, scope, decode, scores }: Sequence,
  runner: Pick<StepLimits, "hasIndex">,
): CachedPrefix {
  const most = scores?.prompt ? scores.next : Infinity;
  const match = (fresh: number) => blocks.match(ids, scope, Math.min(ids.length - fresh, most));
  const prefix = match(1);
  const limited = decode.kind === "retrieval" && prefix.tokens > ids.length - FRESH_TOKENS;
  return limited && !runner.hasIndex?.(prefix.pages, ids.length) ? match(FRESH_TOKENS) : prefix;
}
