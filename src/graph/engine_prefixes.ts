import type { PrefixKey } from "./prefix_match.ts";

/** A prompt being filled now, whose prefixes others may wait for. */
export interface RunningFill {
  /** Called once when the fill ends, whichever way. */
  waiting: (() => void)[];
}

/**
 * What the planner believes one engine holds in its prefix cache. A belief only: the engine's own pages decide, and
 * a wrong guess costs a fill, never a wrong answer. Least recently used prefixes are forgotten once they exceed
 * what the engine can hold, so memory is bounded.
 */
export class EnginePrefixes {
  /** Characters that each key adds to the one before it, in order of last use. */
  readonly #resident = new Map<number, number>();
  readonly #filling = new Map<number, RunningFill>();
  #chars = 0;
  #capacity: number;

  constructor(capacityChars: number) {
    this.#capacity = capacityChars;
  }

  /** Takes a new capacity, in characters. */
  resize(capacityChars: number): void {
    this.#capacity = capacityChars;
    this.#evict();
  }

  /** Characters of the longest resident prefix of `keys`. */
  match(keys: readonly PrefixKey[]): number {
    for (let i = keys.length - 1; i >= 0; i--) {
      if (this.#resident.has(keys[i].key)) return keys[i].chars;
    }
    return 0;
  }

  /** The longest prefix that is being filled now and is longer than `beyond` characters. */
  matchFilling(
    keys: readonly PrefixKey[],
    beyond: number,
  ): { fill: RunningFill; chars: number } | undefined {
    if (this.#filling.size === 0) return undefined;
    for (let i = keys.length - 1; i >= 0 && keys[i].chars > beyond; i--) {
      const fill = this.#filling.get(keys[i].key);
      if (fill) return { fill, chars: keys[i].chars };
    }
    return undefined;
  }

  /** Notes that a prompt is being filled. */
  begin(keys: readonly PrefixKey[]): RunningFill {
    const fill: RunningFill = { waiting: [] };
    for (const { key } of keys) if (!this.#filling.has(key)) this.#filling.set(key, fill);
    return fill;
  }

  /** Notes that the fill ended; with `resident`, its prefixes are in the cache now. */
  end(fill: RunningFill, keys: readonly PrefixKey[], resident: boolean): void {
    for (const { key } of keys) if (this.#filling.get(key) === fill) this.#filling.delete(key);
    if (resident) this.touch(keys);
    const waiting = fill.waiting;
    fill.waiting = [];
    for (const wake of waiting) wake();
  }

  /** Marks prefixes as used now; the shortest becomes the last to be forgotten. */
  touch(keys: readonly PrefixKey[]): void {
    for (let i = keys.length - 1; i >= 0; i--) {
      const { key, chars } = keys[i];
      const own = chars - (i > 0 ? keys[i - 1].chars : 0);
      if (!this.#resident.delete(key)) this.#chars += own;
      this.#resident.set(key, own);
    }
    this.#evict();
  }

  /** Forgets all, as the engine has after a restart. */
  forget(): void {
    this.#resident.clear();
    this.#chars = 0;
  }

  #evict(): void {
    for (const [key, chars] of this.#resident) {
      if (this.#chars <= this.#capacity) break;
      this.#resident.delete(key);
      this.#chars -= chars;
    }
  }
}
