interface Job {
  size: number;
  begin: () => Promise<void>;
}

/** Runs work one piece at a time, of those that wait the smallest first, so that many large ones do not hold up the others. */
export class SmallestFirst {
  readonly #waiting: Job[] = [];
  #running: Promise<void> | undefined;

  /** Work that waits. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The outcome of `work` once its turn has come. Rejects with the reason of `signal` if that fires before. */
  run<T>(size: number, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(job), 1);
        reject(signal.reason);
      };
      const job: Job = {
        size,
        begin: async () => {
          signal.removeEventListener("abort", leave);
          await work().then(resolve, reject);
        },
      };
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener("abort", leave);
      this.#waiting.push(job);
      this.#running ??= this.#run();
    });
  }

  /** Resolves when there is nothing left to do. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    // What is asked for in the same turn is there to choose from.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const next = this.#waiting.reduce((least, job) => job.size < least.size ? job : least);
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      await next.begin();
    }
    this.#running = undefined;
  }
}
