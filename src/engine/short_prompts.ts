import type { CachedPrefix } from "./block_manager.ts";
import { isFollowing, urgency } from "./prefix_following.ts";
import { isPressing, type Sequence } from "./sequence.ts";

/**
 * Share of a step's prompt tokens that a long prompt leaves to short ones behind it: it takes a third longer at most while there are such, and they do not wait until it
 * is read. (2 cores, software Vulkan: a question 1.5 s behind a text of 6,071 tokens had its first token after 0.9 s instead of 14; the text took 17.8 s instead
 * of 16.1.)
 */
const SHORT_SHARE = 1 / 4;
/** A prompt is short beside one that has so many times as much to be read. */
const TIMES = 4;
/** Waiting prompts of which the cache is asked, in a step, how much is left to read: each costs a search per page. */
const MOST_ASKED = 8;

/** A sequence that reads its prompt in a step, and the most tokens it may take. */
export interface Reader {
  sequence: Sequence;
  most: number;
}

/**
 * Who reads in a step of `budget` tokens: in the order given, but that where the first is pressing and does not fit, pressing ones that are short beside it come next,
 * the shortest first, and are left a share.
 * @param match what of a waiting sequence the cache holds
 */
export function withShortPrompts(
  readers: readonly Sequence[],
  budget: number,
  match: (sequence: Sequence) => CachedPrefix,
): Reader[] {
  const all = (sequences: readonly Sequence[]) =>
    sequences.map((sequence) => ({ sequence, most: Infinity }));
  const [first, ...rest] = readers;
  if (!first || !isPressing(urgency(first))) return all(readers);
  const length = first.state === "running" ? first.prefillEnd - first.computed : first.ids.length;
  if (length <= budget) return all(readers);

  let asked = 0;
  const unread = new Map<Sequence, number>();
  for (const one of rest) {
    if (!isPressing(urgency(one)) || isFollowing(one)) continue;
    let left = one.ids.length;
    if (one.state === "running") left = one.prefillEnd - one.computed;
    else if (left * TIMES > length && asked++ < MOST_ASKED) left -= match(one).tokens;
    if (left * TIMES <= length) unread.set(one, left);
  }
  const short = [...unread.keys()].sort((a, b) => unread.get(a)! - unread.get(b)!);
  const wanted = short.reduce((sum, one) => sum + unread.get(one)!, 0);
  const kept = Math.min(wanted, Math.floor(budget * SHORT_SHARE));
  // Nobody may read nothing: a row without tokens decodes.
  if (kept === 0) return all(readers);
  return [
    { sequence: first, most: budget - kept },
    ...all(short),
    ...all(rest.filter((one) => !unread.has(one))),
  ];
}
