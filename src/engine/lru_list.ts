/**
 * The integers [0, capacity) in least-recently-pushed order: a doubly linked list inside two arrays, so that
 * push, remove and shift are O(1) and allocate nothing.
 */
export class LruList {
  /** Neighbours by member; index `capacity` is the sentinel that joins both ends. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #end: number;
  #size = 0;

  constructor(capacity: number) {
    this.#end = capacity;
    this.#next = new Int32Array(capacity + 1).fill(-1);
    this.#previous = new Int32Array(capacity + 1).fill(-1);
    this.#next[capacity] = capacity;
    this.#previous[capacity] = capacity;
  }

  get size(): number {
    return this.#size;
  }

  has(member: number): boolean {
    return this.#next[member] >= 0;
  }

  /** Adds `member` as the most recent. It must not be in the list. */
  push(member: number): void {
    if (this.has(member)) throw new RangeError(`push ${member}: already in the list`);
    const last = this.#previous[this.#end];
    this.#next[last] = member;
    this.#previous[member] = last;
    this.#next[member] = this.#end;
    this.#previous[this.#end] = member;
    this.#size++;
  }

  /** Takes `member` out. It must be in the list. */
  remove(member: number): void {
    if (!this.has(member)) throw new RangeError(`remove ${member}: not in the list`);
    this.#next[this.#previous[member]] = this.#next[member];
    this.#previous[this.#next[member]] = this.#previous[member];
    this.#next[member] = -1;
    this.#previous[member] = -1;
    this.#size--;
  }

  /** Takes out the least recent member; undefined when empty. */
  shift(): number | undefined {
    const first = this.#next[this.#end];
    if (first === this.#end) return undefined;
    this.remove(first);
    return first;
  }

  /** Least recent first. */
  *[Symbol.iterator](): Generator<number> {
    for (let at = this.#next[this.#end]; at !== this.#end; at = this.#next[at]) yield at;
  }
}
