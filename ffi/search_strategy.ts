/**
 * How keys are searched: by the attention-aware `graph`, by `clusters`, or `flat`, all of them as bytes with the best
 * scored again.
 */
export type SearchStrategy = "graph" | "clusters" | "flat";

const order: readonly SearchStrategy[] = ["graph", "clusters", "flat"];

/** The native side's mask of the allowed strategies; 0 stands for all. @throws {RangeError} for one that there is not, or no list. */
export function strategyMask(strategies: readonly SearchStrategy[] = []): number {
  if (!Array.isArray(strategies)) {
    throw new RangeError(
      `strategies: ${JSON.stringify(strategies)}, expected a list of ${order.join(", ")}`,
    );
  }
  const unknown = strategies.find((strategy) => !order.includes(strategy));
  if (unknown !== undefined) {
    throw new RangeError(`strategies: ${JSON.stringify(unknown)}, expected ${order.join(", ")}`);
  }
  return strategies.reduce((mask, strategy) => mask | 1 << order.indexOf(strategy), 0);
}

/** The strategy of this native number. */
export function strategyOf(number: number): SearchStrategy {
  return order[number];
}
