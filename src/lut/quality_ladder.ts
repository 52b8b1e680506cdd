/** What a frame may cost, best first: fusion net and residual, one blended table, bicubic. */
export const qualities: readonly Quality[] = ["full", "gate", "bicubic"];

/** One of `qualities`. */
export type Quality = "full" | "gate" | "bicubic";

/** Frames between tries of a dearer step: a second or two of video, so that a try that fails is not seen as flicker. */
const retryFrames = 48;
/** A dearer step is taken back when its last cost is below this share of the budget. */
const headroom = 0.9;

/**
 * Chooses the dearest quality whose running cost keeps within a budget, so that a slow moment costs quality and not frames.
 * Costs are exponential means; a step whose cost lies over the budget is left at once and tried again after `retryFrames`.
 */
export class QualityLadder {
  readonly #budgetMs: number;
  readonly #costs: (number | undefined)[] = qualities.map(() => undefined);
  #at: number;
  #sinceChange = 0;

  /** `budgetMs` may be Infinity; `best` is the dearest step allowed. */
  constructor(budgetMs: number, best: Quality = "full") {
    if (!(budgetMs > 0)) {
      throw new RangeError(`a frame's budget is ${budgetMs} ms, expected more than 0`);
    }
    this.#budgetMs = budgetMs;
    this.#at = qualities.indexOf(best);
    this.#best = this.#at;
  }

  readonly #best: number;

  /** The step for the next frame. */
  get quality(): Quality {
    return qualities[this.#at];
  }

  /** Tells what the frame just made has cost. */
  record(milliseconds: number): void {
    const known = this.#costs[this.#at];
    this.#costs[this.#at] = known === undefined ? milliseconds : 0.8 * known + 0.2 * milliseconds;
    this.#sinceChange++;
    if (this.#costs[this.#at]! > this.#budgetMs && this.#at < qualities.length - 1) {
      this.#at++;
      this.#sinceChange = 0;
    } else if (this.#at > this.#best && this.#sinceChange >= retryFrames) {
      const dearer = this.#costs[this.#at - 1];
      this.#sinceChange = 0;
      if (dearer === undefined || dearer < this.#budgetMs * headroom) this.#at--;
      // Costs age, so that a machine that has become free again is noticed.
      else this.#costs[this.#at - 1] = dearer * 0.7;
    }
  }
}
