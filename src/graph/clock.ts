/**
 * Time as the graph sees it: real, or a simulator's. Everything in the graph that waits goes through one of these,
 * so that hours of a workload are replayed in seconds.
 * @module
 */

/** A source of time in milliseconds. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Runs `action` once after `ms` milliseconds; returns a function that calls it off. */
  after(ms: number, action: () => void): () => void;
}

/** The machine's own monotonic clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, action) {
    // setTimeout counts in 32-bit signed milliseconds and fires at once beyond that.
    const timer = setTimeout(action, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms` milliseconds of `clock`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}
