import { ApiError } from "./api_error.ts";
import { unavailable } from "./unavailable.ts";

/** Places for videos that are enlarged at the same time, each of which has a thread and frames of its own. */
export class VideoPlaces {
  readonly #most: number;
  #taken = 0;
  #draining = false;
  #free: (() => void) | undefined;

  /** `most` at a time. */
  constructor(most: number) {
    this.#most = most;
  }

  /** A place until it is disposed of. Throws `ApiError`: 429 when all are taken, 503 while draining. */
  take(): Disposable {
    if (this.#draining) throw unavailable("the server is shutting down", "shutting_down", 5);
    if (this.#taken >= this.#most) {
      throw new ApiError(`${this.#taken} videos are under way, at most ${this.#most} may be`, {
        status: 429,
        type: "rate_limit_error",
        code: "too_many_videos",
        retryAfterSeconds: 5,
      });
    }
    this.#taken++;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        if (--this.#taken === 0) this.#free?.();
      },
    };
  }

  /** Lets no more in, and waits up to `deadlineMs` until all are free. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    if (this.#taken === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#free = resolve;
      timer = setTimeout(resolve, deadlineMs);
    });
    clearTimeout(timer);
  }
}
