/** What a model thought of one token of a sequence, natural logarithms of probabilities. */
export interface TokenScore {
  logprob: number;
  /** The likeliest tokens in its place, the likeliest first. */
  top: { id: number; logprob: number }[];
}

/**
 * The scores of a sequence's tokens, by their index in it. Runners put them in as steps are computed, a token computed twice twice with the
 * same; whoever shows the tokens takes them out.
 */
export class TokenScores {
  /** Likeliest tokens listed with each. */
  readonly top: number;
  /** Whether the tokens of the prompt are scored too. */
  readonly prompt: boolean;
  readonly #scores = new Map<number, TokenScore>();
  #next = 0;

  constructor(options: { top: number; prompt: boolean }) {
    this.top = options.top;
    this.prompt = options.prompt;
  }

  /** Leading positions whose next tokens are scored: for their scores they need not be computed again. */
  get next(): number {
    return this.#next;
  }

  /** Notes the score of the token at `index`, which the position before it gave. */
  set(index: number, score: TokenScore): void {
    this.#scores.set(index, score);
    if (index === this.#next + 1) this.#next = index;
  }

  /** The score of the token at `index`, which is forgotten; undefined when there is none. */
  take(index: number): TokenScore | undefined {
    const score = this.#scores.get(index);
    this.#scores.delete(index);
    return score;
  }
}
