import { ApiError } from "./api_error.ts";
import { unavailable } from "./unavailable.ts";

/** A place that is held until it is disposed of. */
export interface VideoPlace extends Disposable {
  /** Says that something came, or was taken. */
  touch(): void;
}

interface Held {
  touched: number;
  /** Ends the video, and so gives the place back, at once. */
  giveUp(): void;
}

/** Places for videos that are enlarged at the same time, each of which has a thread and frames of its own. */
export class VideoPlaces {
  readonly #most: number;
  readonly #idleMs: number;
  readonly #held = new Set<Held>();
  #draining = false;
  #free: (() => void) | undefined;

  /** `most` at a time; one that was idle for `idleMs` makes way for another. */
  constructor(most: number, idleMs: number) {
    this.#most = most;
    this.#idleMs = idleMs;
  }

  /**
   * A place. `giveUp` is called when the holder has been idle for long and another video has no place otherwise; it ends the video.
   * Throws `ApiError`: 429 when all are taken, 503 while draining.
   */
  take(giveUp: () => void): VideoPlace {
    if (this.#draining) throw unavailable("the server is shutting down", "shutting_down", 5);
    if (this.#held.size >= this.#most) this.#evict();
    const held: Held = { touched: performance.now(), giveUp };
    this.#held.add(held);
    return {
      touch: () => held.touched = performance.now(),
      [Symbol.dispose]: () => this.#release(held),
    };
  }

  /** Lets no more in, and waits up to `deadlineMs` until all are free. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    if (this.#held.size === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#free = resolve;
      timer = setTimeout(resolve, deadlineMs);
    });
    clearTimeout(timer);
  }

  /** Ends the video that has been idle for longest. */
  #evict(): void {
    const [longest] = [...this.#held].sort((a, b) => a.touched - b.touched);
    if (performance.now() - longest.touched < this.#idleMs) {
      throw new ApiError(`${this.#held.size} videos are under way, at most ${this.#most} may be`, {
        status: 429,
        type: "rate_limit_error",
        code: "too_many_videos",
        retryAfterSeconds: 5,
      });
    }
    this.#release(longest);
    longest.giveUp();
  }

  #release(held: Held): void {
    if (this.#held.delete(held) && this.#held.size === 0) this.#free?.();
  }
}
