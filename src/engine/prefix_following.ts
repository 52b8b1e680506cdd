import { roundUp } from "../common/math.ts";
import { bySeniority, type Sequence } from "./sequence.ts";
import { PAGE_TOKENS } from "./step.ts";

// Requests that arrive together with the same prefix: one computes it, the others follow it, which means that they
// wait until its pages can be shared, instead of computing the same pages next to it.

/** A prefix shorter than this is recomputed rather than waited for. */
const WORTH_WAITING = PAGE_TOKENS;

/** Whether `sequence` still waits for the prefill that `follow` found; forgets it when not. */
export function isFollowing(sequence: Sequence): boolean {
  const leader = sequence.leader;
  if (leader?.sequence.state === "running" && leader.sequence.shared < leader.tokens) return true;
  sequence.leader = undefined;
  return false;
}

/**
 * Lets `sequence` wait for the running prefill that computes most of what the cache, which holds `cachedTokens` of
 * its prompt, lacks. False when there is none worth waiting for, or it has to read its prompt by itself.
 */
export function follow(
  sequence: Sequence,
  cachedTokens: number,
  resident: readonly Sequence[],
): boolean {
  if (sequence.reusable < Infinity) return false;
  let best = cachedTokens + WORTH_WAITING - 1;
  for (const other of resident) {
    if (other.state !== "running" || other.scope !== sequence.scope || !other.shares) continue;
    if (other.shared >= other.prefillEnd) continue;
    // The last token is always computed by the request itself.
    const end = Math.min(sequence.ids.length - 1, other.prefillEnd);
    let common = 0;
    while (common < end && sequence.ids[common] === other.ids[common]) common++;
    const tokens = Math.min(other.prefillEnd, roundUp(common, PAGE_TOKENS));
    if (common <= best || other.shared >= tokens) continue;
    best = common;
    sequence.leader = { sequence: other, tokens };
  }
  const leader = sequence.leader?.sequence;
  if (!leader) return false;
  if (bySeniority(sequence, urgency(leader)) < 0) leader.follower = sequence;
  return true;
}

/** The most senior of a prefilling sequence and those that wait for it: in its place the prefill is scheduled. */
export function urgency(sequence: Sequence): Sequence {
  const follower = sequence.follower;
  if (follower?.leader?.sequence !== sequence) return sequence;
  return bySeniority(follower, sequence) < 0 ? follower : sequence;
}
