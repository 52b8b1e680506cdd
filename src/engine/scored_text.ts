import type { TextCodec } from "./text_codec.ts";
import type { TokenScore } from "./token_scores.ts";
import type { ScoredToken } from "./types.ts";

/** Stands for what is less likely still, down to impossible: JSON has no infinity, and OpenAI's API says the same. */
const LEAST = -9999;

/** Code points of `text`. */
function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Puts the scores of tokens together with what they stand for, and keeps count of where in the text they are. */
export class ScoredText {
  readonly #codec: TextCodec;
  #offset = 0;

  constructor(codec: TextCodec) {
    this.#codec = codec;
  }

  /**
   * Token `id` at the end of the text so far; without a score for the first of a sequence.
   * @throws {Error} when the score is no number, since the model's logits were not finite.
   */
  token(id: number, score: TokenScore | undefined): ScoredToken {
    if (score && Number.isNaN(score.logprob)) {
      const why = "the logits are not finite; the model file or the GPU driver is faulty";
      throw new Error(`score token ${id}: ${why}`);
    }
    return {
      id,
      ...this.#codec.describe(id),
      logprob: score ? Math.max(score.logprob, LEAST) : null,
      top: (score?.top ?? []).map(({ id, logprob }) => ({
        id,
        ...this.#codec.describe(id),
        logprob: Math.max(logprob, LEAST),
      })),
      offset: this.#offset,
    };
  }

  /** Adds what tokens have turned out to say. */
  append(text: string): void {
    this.#offset += codePoints(text);
  }
}
