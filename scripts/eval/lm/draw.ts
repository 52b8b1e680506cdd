import type { Rng } from "../../../src/common/rng.ts";

/** One of `items`. */
export function pick<T>(items: readonly T[], rng: Rng): T {
  return items[rng.integer(items.length)];
}

/** `items` in random order (Fisher-Yates). */
export function shuffled<T>(items: readonly T[], rng: Rng): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = rng.integer(i + 1);
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

/** An integer from `low` to `high`, both included. */
export function between(low: number, high: number, rng: Rng): number {
  return low + rng.integer(high - low + 1);
}

/** `count` different results of `draw`. */
export function distinct(count: number, draw: () => string): string[] {
  const found = new Set<string>();
  while (found.size < count) found.add(draw());
  return [...found];
}
