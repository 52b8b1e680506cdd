/**
 * Whether one more request of `scope` may wait where `most` may. Where those are there, one whose own are few still may, so that no other client keeps it out: fewer than half
 * of an equal share of them, up to twice as many in all.
 * @param waiting the scopes of those that wait
 */
export function mayWait(waiting: readonly string[], scope: string, most: number): boolean {
  if (waiting.length < most) return true;
  const scopes = new Set([...waiting, scope]).size;
  const own = waiting.filter((other) => other === scope).length;
  return own < Math.floor(most / (2 * scopes)) && waiting.length < 2 * most;
}
