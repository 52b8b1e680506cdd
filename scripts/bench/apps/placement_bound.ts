import type { CostModel } from "../../../src/graph/sim/cost_model.ts";

/** One kind of request of a mix whose kinds come equally often: lengths in tokens. */
export interface MixKind {
  /** What all requests of the kind begin with. */
  system: number;
  query: number;
  output: number;
}

/** Shares of a kind that moves go by, from coarse to fine. */
const MOVES = [0.5, 0.25, 0.1, 0.04, 0.01];

/**
 * The rate, in requests a second, that no placement of `kinds` on `engines` exceeds at `limitMs` per token in the mean of all requests.
 *
 * Arrivals as even as a fluid, prompts read for nothing, every kind split over the engines in the best shares. An engine whose steps take s
 * ms has base + s · load = s: base is a step without its rows' own tokens (weights, and each prefix that is there, read once), load the
 * share of the time in which those are read, which is rate · attention · (output² / 2 + output · query). Uneven arrivals only add to it, since
 * s = base / (1 - load) is convex.
 */
export function placementBound(
  kinds: readonly MixKind[],
  engines: number,
  cost: CostModel,
  limitMs: number,
): number {
  let [low, high] = [0, 1];
  while (leastMs(kinds, engines, cost, high) <= limitMs) high *= 2;
  while (high - low > 0.005) {
    const rate = (low + high) / 2;
    if (leastMs(kinds, engines, cost, rate) <= limitMs) low = rate;
    else high = rate;
  }
  return high;
}

/** The least mean of milliseconds per token at `rate` requests a second: the best of hill climbs from every whole assignment. */
export function leastMs(
  kinds: readonly MixKind[],
  engines: number,
  cost: CostModel,
  rate: number,
): number {
  let least = Infinity;
  for (const start of assignments(kinds.length, engines)) {
    const shares = start.map((engine) =>
      Array.from({ length: engines }, (_, i) => i === engine ? 1 : 0)
    );
    least = Math.min(least, climb(shares, (shares) => meanMs(kinds, shares, cost, rate)));
  }
  return least;
}

/** Mean of milliseconds per token where `shares[kind][engine]` of a kind's requests go to an engine. */
export function meanMs(
  kinds: readonly MixKind[],
  shares: readonly (readonly number[])[],
  cost: CostModel,
  rate: number,
): number {
  const each = rate / kinds.length / 1000;
  let mean = 0;
  for (let engine = 0; engine < shares[0].length; engine++) {
    let base = cost.overheadMs + cost.weightsMs;
    let load = 0;
    let part = 0;
    kinds.forEach(({ system, query, output }, kind) => {
      const share = shares[kind][engine];
      if (share === 0) return;
      part += share / kinds.length;
      base += cost.attentionMsPerToken * system;
      load += each * share * cost.attentionMsPerToken * (output ** 2 / 2 + output * query);
    });
    if (part === 0) continue;
    // Beyond what the engine can do, still better with less.
    mean += part * (load < 0.99 ? base / (1 - load) : base * 100 * (1 + load));
  }
  return mean;
}

/** Moves shares of single kinds between engines as long as that makes `cost` less; returns the least. */
function climb(shares: number[][], cost: (shares: number[][]) => number): number {
  let least = cost(shares);
  for (const move of MOVES) {
    for (let better = true; better;) {
      better = false;
      for (const row of shares) {
        for (let from = 0; from < row.length; from++) {
          for (let to = 0; to < row.length; to++) {
            // All that is left is moved whole, so that a prefix can leave an engine.
            const share = row[from] < 1.5 * move ? row[from] : move;
            if (from === to || share === 0) continue;
            const before = [row[from], row[to]];
            row[from] -= share;
            row[to] += share;
            const now = cost(shares);
            if (now < least - 1e-9) {
              least = now;
              better = true;
            } else [row[from], row[to]] = before;
          }
        }
      }
    }
  }
  return least;
}

/** Every way to give each kind one engine, but for the engines' names. */
function assignments(kinds: number, engines: number): number[][] {
  let all: number[][] = [[]];
  for (let kind = 0; kind < kinds; kind++) {
    all = all.flatMap((one) => {
      const next = Math.min(engines - 1, Math.max(-1, ...one) + 1);
      return Array.from({ length: next + 1 }, (_, engine) => [...one, engine]);
    });
  }
  return all;
}
