import type { BlockManager, CachedPrefix } from "./block_manager.ts";
import type { Sequence } from "./sequence.ts";
import type { StepLimits } from "./step.ts";

/**
 * What of a sequence comes from the cache. Its last token is computed, what is to be known of others than their keys and values, and as much of its
 * end as the runner wants to see.
 */
export function matchPrefix(
  blocks: BlockManager,
  { ids, scope, decode, reusable }: Sequence,
  runner: Pick<StepLimits, "freshTokens">,
): CachedPrefix {
  const match = (fresh: number) => blocks.match(ids, scope, Math.min(ids.length - fresh, reusable));
  const prefix = match(1);
  const fresh = runner.freshTokens?.(decode, prefix.pages, ids.length) ?? 1;
  return prefix.tokens > ids.length - fresh ? match(fresh) : prefix;
}
