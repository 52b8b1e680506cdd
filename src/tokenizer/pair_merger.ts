// A word of an ordinary text has 5 to 15 symbols; arrays for up to this many are kept between calls (28 bytes each).
const keptSymbols = 4096;
const positionRange = 2 ** 32;

/** What {@linkcode PairMerger} asks of a vocabulary. Symbols are known by their position in the input. */
export interface MergeRules {
  /**
   * The rank of the merge of the symbols now at `left` and `right`, smaller first, below 2^20; -1 when they do not
   * merge.
   */
  rank(left: number, right: number): number;
  /** The symbol at `left` takes over the one at `right`; `rank` is what {@linkcode rank} gave for the two. */
  merge(left: number, right: number, rank: number): void;
}

/**
 * Merges the best-ranked neighbouring pair of a row of symbols until no pair merges; among equal ranks the leftmost
 * goes first. O(n log n): a heap of candidates over a linked list of symbols, where a candidate whose pair has changed
 * is recognised by its outdated rank and dropped.
 */
export class PairMerger {
  #next = new Int32Array(keptSymbols);
  #previous = new Int32Array(keptSymbols);
  /** Rank of the pair that starts at each symbol; -1 for none. */
  #rank = new Int32Array(keptSymbols);
  /** A binary heap of rank · 2^32 + position of the left symbol, exact in a double. */
  #heap = new Float64Array(2 * keptSymbols);
  #heapSize = 0;

  /** Merges symbols 0 to `count` - 1 by `rules`, then calls `emit` with the position of each that is left, in order. */
  run(count: number, rules: MergeRules, emit: (position: number) => void): void {
    if (count === 0) return;
    const large = count > keptSymbols;
    const kept = [this.#next, this.#previous, this.#rank, this.#heap] as const;
    if (large) {
      this.#next = new Int32Array(count);
      this.#previous = new Int32Array(count);
      this.#rank = new Int32Array(count);
      // Fewer than `count` candidates at first, and every merge removes one and adds at most two.
      this.#heap = new Float64Array(2 * count);
    }
    this.#merge(count, rules);
    for (let at = 0; at < count; at = this.#next[at]) emit(at);
    if (large) [this.#next, this.#previous, this.#rank, this.#heap] = kept;
  }

  #merge(count: number, rules: MergeRules): void {
    const next = this.#next, previous = this.#previous, ranks = this.#rank;
    this.#heapSize = 0;
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      ranks[i] = -1;
    }
    for (let i = 0; i + 1 < count; i++) this.#offer(i, i + 1, rules);

    while (this.#heapSize > 0) {
      const key = this.#pop();
      const rank = Math.floor(key / positionRange);
      const left = key - rank * positionRange;
      if (ranks[left] !== rank) continue;
      const right = next[left];
      rules.merge(left, right, rank);
      ranks[right] = -1;
      next[left] = next[right];
      if (next[left] < count) previous[next[left]] = left;
      ranks[left] = -1;
      if (next[left] < count) this.#offer(left, next[left], rules);
      if (previous[left] >= 0) this.#offer(previous[left], left, rules);
    }
  }

  #offer(left: number, right: number, rules: MergeRules): void {
    const rank = rules.rank(left, right);
    this.#rank[left] = rank;
    if (rank >= 0) this.#push(rank * positionRange + left);
  }

  #push(key: number): void {
    const heap = this.#heap;
    let at = this.#heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent] <= key) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0];
    const size = --this.#heapSize;
    const key = heap[size];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && heap[child + 1] < heap[child]) child++;
      if (heap[child] >= key) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = key;
    return top;
  }
}
