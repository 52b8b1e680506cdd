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
      // Whoever ends hands over its place.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
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
}
