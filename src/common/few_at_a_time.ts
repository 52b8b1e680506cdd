import { CapacityError } from "./errors.ts";

/** Lets so many pieces of work run at once, and so many more wait their turn. */
export class FewAtATime {
  readonly #most: number;
  readonly #waiters: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** `most` run at once, `waiters` wait. */
  constructor(most: number, waiters: number) {
    this.#most = most;
    this.#waiters = waiters;
  }

  /**
   * Runs `work` when its turn comes, or not at all when `signal` fires before.
   * @throws {CapacityError} when too many wait already; `what` names them.
   */
  async run<T>(what: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#running >= this.#most) {
      if (this.#waiting.length >= this.#waiters) {
        throw new CapacityError(`${this.#waiting.length} ${what} wait already`);
      }
      await this.#turn(signal);
    } else this.#running++;
    try {
      signal?.throwIfAborted();
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  /** Waits for a place, which whoever ends hands over; leaves the queue when `signal` fires. */
  async #turn(signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = () => {
      const at = this.#waiting.indexOf(resolve);
      // Absent when its turn has just come.
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      reject(signal!.reason);
    };
    this.#waiting.push(resolve);
    signal?.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }
}
