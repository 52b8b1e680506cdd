/** A hash table from a pair of token ids to a small number, with open addressing in typed arrays. */
export class PairTable {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #value: Int32Array;

  /** Room for `capacity` pairs. */
  constructor(capacity: number) {
    // At most half full: a miss, the common case, ends after 1.5 probes on average.
    let slots = 16;
    while (slots < 2 * capacity) slots *= 2;
    this.#mask = slots - 1;
    this.#left = new Int32Array(slots).fill(-1);
    this.#right = new Int32Array(slots);
    this.#value = new Int32Array(slots);
  }

  #slot(left: number, right: number): number {
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash ^= hash >>> 15;
    let at = hash & this.#mask;
    while (this.#left[at] !== -1 && (this.#left[at] !== left || this.#right[at] !== right)) {
      at = (at + 1) & this.#mask;
    }
    return at;
  }

  /** Stores `value` for the pair unless it has one: the first stays. */
  add(left: number, right: number, value: number): void {
    const at = this.#slot(left, right);
    if (this.#left[at] !== -1) return;
    this.#left[at] = left;
    this.#right[at] = right;
    this.#value[at] = value;
  }

  /** The pair's value, -1 when it has none. Ids below 0 are in no pair. */
  get(left: number, right: number): number {
    if (left < 0) return -1;
    const at = this.#slot(left, right);
    return this.#left[at] === -1 ? -1 : this.#value[at];
  }
}
