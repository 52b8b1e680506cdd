import { CapacityError } from "./errors.ts";

/** Whose work it is, and what calls it off. */
export interface Turn {
  /** Who shares places fairly with others; default one for all. */
  tenant?: string;
  signal?: AbortSignal;
}

/**
 * Lets so many pieces of work run at once, and so many more wait their turn. A place that becomes free goes to the tenant that has fewest,
 * of equals to one that has not just had it; within a tenant, work runs in the order it came.
 */
export class FewAtATime {
  readonly #waiters: number;
  /** By tenant, the one whose work ended last behind the others. */
  readonly #waiting = new Map<string, (() => void)[]>();
  readonly #running = new Map<string, number>();
  #places: number;
  #queued = 0;

  /** `most` run at once, `waiters` wait. */
  constructor(most: number, waiters: number) {
    this.#waiters = waiters;
    this.#places = most;
  }

  /**
   * Runs `work` when its turn comes, or not at all when `signal` fires before.
   * @throws {CapacityError} when too many wait already; `what` names them.
   */
  async run<T>(
    what: string,
    work: () => Promise<T>,
    { tenant = "", signal }: Turn = {},
  ): Promise<T> {
    signal?.throwIfAborted();
    if (this.#places === 0) {
      if (this.#queued >= this.#waiters) {
        throw new CapacityError(`${this.#queued} ${what} wait already`);
      }
      await this.#turn(tenant, signal);
    } else this.#enter(tenant);
    try {
      signal?.throwIfAborted();
      return await work();
    } finally {
      this.#leave(tenant);
    }
  }

  #enter(tenant: string): void {
    this.#places--;
    this.#running.set(tenant, this.#runningOf(tenant) + 1);
  }

  /** Gives the place back, and to whoever is next. */
  #leave(tenant: string): void {
    this.#places++;
    const left = this.#runningOf(tenant) - 1;
    if (left === 0) this.#running.delete(tenant);
    else this.#running.set(tenant, left);
    const own = this.#waiting.get(tenant);
    if (own) {
      // Behind the others.
      this.#waiting.delete(tenant);
      this.#waiting.set(tenant, own);
    }
    let next: string | undefined;
    for (const other of this.#waiting.keys()) {
      if (next === undefined || this.#runningOf(other) < this.#runningOf(next)) next = other;
    }
    if (next === undefined) return;
    const [begin] = this.#waiting.get(next)!;
    this.#remove(next, begin);
    this.#enter(next);
    begin();
  }

  #runningOf(tenant: string): number {
    return this.#running.get(tenant) ?? 0;
  }

  /** Waits for a place, which whoever ends hands over; leaves the queue when `signal` fires. */
  async #turn(tenant: string, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = () => {
      // False when its turn has just come.
      if (this.#remove(tenant, resolve)) reject(signal!.reason);
    };
    const queue = this.#waiting.get(tenant);
    if (queue) queue.push(resolve);
    else this.#waiting.set(tenant, [resolve]);
    this.#queued++;
    signal?.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  /** Takes one that waits out of the queue; false when it is in there no more. */
  #remove(tenant: string, waiter: () => void): boolean {
    const queue = this.#waiting.get(tenant);
    const at = queue?.indexOf(waiter) ?? -1;
    if (at < 0) return false;
    queue!.splice(at, 1);
    this.#queued--;
    if (queue!.length === 0) this.#waiting.delete(tenant);
    return true;
  }
}
