import { log } from "../common/log.ts";
import type { StepRunner } from "./step.ts";

/** Quiet milliseconds after which an idle engine prepares: a client that has just seen it ready may be about to ask. */
const QUIET = 50;
/** A busy engine prepares for one part in so many of its time. */
const BUSY_SHARE = 20;

/**
 * When a runner gets to `prepare`: while nothing runs, and otherwise for a small part of the time. A piece takes 0.2 s on software Vulkan,
 * and up to 3 s where the driver has never compiled it.
 */
export class Preparation {
  readonly #runner: StepRunner;
  #pending: boolean;
  #next: number;

  constructor(runner: StepRunner) {
    this.#runner = runner;
    this.#pending = runner.prepare !== undefined;
    this.#next = performance.now() + QUIET;
  }

  /** Milliseconds that an idle engine should wait before it calls `advance`; undefined when there is nothing left to do. */
  get quiet(): number | undefined {
    return this.#pending ? QUIET : undefined;
  }

  /** Whether it is time for a busy engine to call `advance`. */
  get due(): boolean {
    return this.#pending && performance.now() >= this.#next;
  }

  /** Prepares a little. What fails is given up and logged: nothing depends on it. */
  async advance(): Promise<void> {
    const began = performance.now();
    try {
      this.#pending = await this.#runner.prepare!();
    } catch (error) {
      this.#pending = false;
      log(
        "warn",
        `preparing faster kernels failed: ${error instanceof Error ? error.message : error}`,
      );
    }
    const now = performance.now();
    this.#next = now + BUSY_SHARE * (now - began);
  }
}
