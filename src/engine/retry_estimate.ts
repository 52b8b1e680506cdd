import { clamp } from "../common/math.ts";

/** Weight of the newest interval: the estimate follows a change of load within about ten requests. */
const NEWEST = 0.2;

/** Guesses from the pace at which requests end how long a full queue takes to move. */
export class RetryEstimate {
  #interval = 0;
  #last = NaN;

  /** A request ended at `now` (milliseconds). */
  finished(now: number): void {
    if (!Number.isNaN(this.#last)) {
      const interval = now - this.#last;
      this.#interval = this.#interval === 0
        ? interval
        : this.#interval + NEWEST * (interval - this.#interval);
    }
    this.#last = now;
  }

  /** Whole seconds, in [1, 60], until about a quarter of `waiting` requests have moved on. */
  seconds(waiting: number): number {
    return clamp(Math.ceil(waiting * this.#interval / 4000), 1, 60);
  }
}
