import type { Pooling } from "../model/config.ts";

/**
 * A text's embedding while its hidden states become known: runners add them as steps are computed, in order of position and one computed twice
 * once, in double precision, so that the vector does not depend on how the text was cut into steps.
 */
export class PooledText {
  readonly #pooling: Pooling;
  readonly #tokens: number;
  readonly #dimensions: number;
  readonly #sum: Float64Array;
  #next = 0;

  /**
   * @param tokens of the text
   * @param width elements of a hidden state
   * @param dimensions of these, leading ones that the vector has
   */
  constructor(
    { pooling, tokens, width, dimensions = width }: {
      pooling: Pooling;
      tokens: number;
      width: number;
      dimensions?: number;
    },
  ) {
    this.#pooling = pooling;
    this.#tokens = tokens;
    this.#dimensions = dimensions;
    this.#sum = new Float64Array(width);
  }

  /** Whether the hidden states of more than the last token are needed, which the prefix cache does not hold. */
  get whole(): boolean {
    return this.#pooling !== "last";
  }

  /** Of the positions from `start` to before `end` those whose hidden states are needed; `from >= to` where none is. */
  needed(start: number, end: number): { from: number; to: number } {
    const { first, last } = this.#span;
    return { from: Math.max(start, first, this.#next), to: Math.min(end, last + 1) };
  }

  /** Takes the hidden state at `position`, behind the last norm, of the width. */
  add(position: number, state: ArrayLike<number>): void {
    for (let i = 0; i < this.#sum.length; i++) this.#sum[i] += state[i];
    this.#next = position + 1;
  }

  /**
   * The pooled hidden states, cut to the dimensions and of unit length.
   * @throws {Error} when they are not finite.
   */
  vector(): Float32Array<ArrayBuffer> {
    const leading = this.#sum.subarray(0, this.#dimensions);
    const length = Math.sqrt(leading.reduce((sum, x) => sum + x * x, 0));
    if (!Number.isFinite(length)) {
      throw new Error(
        "embed a text: the hidden states are not finite; the model file or the GPU driver is faulty",
      );
    }
    return Float32Array.from(leading, (x) => x / (length || 1));
  }

  /** First and last position that is pooled. */
  get #span(): { first: number; last: number } {
    const last = this.#tokens - 1;
    if (this.#pooling === "mean") return { first: 0, last };
    return this.#pooling === "last" ? { first: last, last } : { first: 0, last: 0 };
  }
}
