import { bySeniority, type Sequence } from "./sequence.ts";

/** When a request that keeps being passed over gets its turn. */
export interface PatienceOptions {
  /** Milliseconds of waiting after which a request is overdue. */
  patienceMs: number;
  /** One admission in so many goes to the oldest overdue request. */
  overdueShare: number;
}

/**
 * Sequences that have no pages yet, most senior first. So that a steady stream of latency work cannot keep others
 * out for ever, now and then the oldest overdue one goes first.
 */
export class WaitingQueue {
  readonly #options: PatienceOptions;
  readonly #sorted: Sequence[] = [];
  #sinceOverdue = 0;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sorted.length;
  }

  add(sequence: Sequence): void {
    let low = 0, high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (bySeniority(this.#sorted[middle], sequence) < 0) low = middle + 1;
      else high = middle;
    }
    this.#sorted.splice(low, 0, sequence);
  }

  remove(sequence: Sequence): void {
    const at = this.#sorted.indexOf(sequence);
    if (at < 0) throw new RangeError(`remove ${sequence.id}: it is not waiting`);
    this.#sorted.splice(at, 1);
  }

  /** Takes `sequence` out because it got pages. `overdue` says that it was the overdue one's turn. */
  admit(sequence: Sequence, overdue: boolean): void {
    this.remove(sequence);
    this.#sinceOverdue = overdue ? 0 : this.#sinceOverdue + 1;
  }

  /** The request that is overdue at `now` (milliseconds), when it is the turn of one. */
  overdue(now: number): Sequence | undefined {
    if (this.#sinceOverdue + 1 < this.#options.overdueShare) return undefined;
    let oldest: Sequence | undefined;
    for (const sequence of this.#sorted) {
      if (now - sequence.submittedAt < this.#options.patienceMs) continue;
      if (!oldest || sequence.arrival < oldest.arrival) oldest = sequence;
    }
    return oldest;
  }

  [Symbol.iterator](): Iterator<Sequence> {
    return this.#sorted[Symbol.iterator]();
  }
}
