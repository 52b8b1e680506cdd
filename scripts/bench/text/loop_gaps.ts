/** Watches this isolate's event loop: the longest time between two turns of a timer that is due at once. */
export class LoopGaps {
  #last = performance.now();
  #longest = 0;
  #timer: ReturnType<typeof setTimeout>;

  constructor() {
    const turn = () => {
      const now = performance.now();
      this.#longest = Math.max(this.#longest, now - this.#last);
      this.#last = now;
      this.#timer = setTimeout(turn, 0);
    };
    this.#timer = setTimeout(turn, 0);
  }

  /** Ends the watch. Milliseconds of the longest gap. */
  stop(): number {
    clearTimeout(this.#timer);
    return this.#longest;
  }
}
