/** No search is expected to take longer, so that one slow search costs the next step no more than this. */
const MOST_MS = 5;

/** What the searches of a context's layers took, for a lower estimate of what the next will take. */
export class SearchPace {
  /** By layer, milliseconds a key of the last two searches. */
  readonly #rates: [number, number][] = [];

  /** Milliseconds that a search of `layer` takes at least, by its last two, with so many keys; 0 before there were two. At most 5. */
  expected(layer: number, keys: number): number {
    const rates = this.#rates[layer];
    return rates ? Math.min(MOST_MS, keys * Math.min(...rates)) : 0;
  }

  /** Takes down a search. */
  add(layer: number, keys: number, milliseconds: number): void {
    const [, last] = this.#rates[layer] ?? [0, 0];
    this.#rates[layer] = [last, milliseconds / Math.max(1, keys)];
  }

  /** Forgets all searches. */
  clear(): void {
    this.#rates.length = 0;
  }
}
