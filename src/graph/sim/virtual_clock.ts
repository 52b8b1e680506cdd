// deno-lint-ignore no-external-import -- built into Deno; 2 µs a turn where a message channel takes 5
import { setImmediate } from "node:timers";
import type { Clock } from "../clock.ts";
import { Heap } from "../heap.ts";

interface Timer {
  at: number;
  order: number;
  action: (() => void) | undefined;
}

/**
 * Time that passes only when nothing else is left to do: each timer runs once everything that the one before it set
 * in motion has come to rest. Hours of a workload take the seconds that its decisions take.
 */
export class VirtualClock implements Clock {
  readonly #timers = new Heap<Timer>((a, b) => a.at - b.at || a.order - b.order);
  #now = 0;
  #order = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, action: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, ms), order: this.#order++, action };
    this.#timers.push(timer);
    return () => timer.action = undefined;
  }

  /** Runs timers until `work` settles, and returns what it settled to. Throws when nothing is left that could settle it. */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const watched = work.finally(() => settled = true);
    watched.catch(() => {});
    while (true) {
      await settle();
      if (settled) return await watched;
      let timer = this.#timers.pop();
      while (timer && !timer.action) timer = this.#timers.pop();
      if (!timer) {
        throw new Error(
          `Virtual clock: nothing is due at ${this.#now} ms, and the work is not done`,
        );
      }
      this.#now = timer.at;
      timer.action?.();
    }
  }
}

/** Resolves once every promise reaction queued so far, and those they queue, have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
