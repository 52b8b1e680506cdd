import type { GrammarMatcher } from "../../ffi/grammar_matcher.ts";
import { ConstraintError } from "../common/errors.ts";

/** A text that is generated under a constraint: which tokens may come next, and when it is complete. */
export class ConstrainedText implements Disposable {
  readonly #matcher: GrammarMatcher;
  readonly #stopTokens: readonly number[];
  #failure: ConstraintError | undefined;

  /** Takes over `matcher`. `stopTokens` end the generation beside the model's own end tokens. */
  constructor(matcher: GrammarMatcher, stopTokens: readonly number[] = []) {
    this.#matcher = matcher;
    this.#stopTokens = stopTokens;
  }

  /** Why the constraint cannot be kept any longer: no token is allowed then. */
  get failure(): ConstraintError | undefined {
    return this.#failure;
  }

  /**
   * Writes the set of tokens that may come next, bit `id % 32` of word `id / 32`: end and stop tokens where the text may end. None once
   * the constraint has failed.
   */
  mask(words: Uint32Array<ArrayBuffer>): void {
    if (!this.#try(() => this.#matcher.mask(words), (mayEnd) => {
      for (const id of this.#stopTokens) {
        const bit = 1 << (id % 32);
        const word = Math.floor(id / 32);
        if (word >= words.length) continue;
        words[word] = mayEnd ? words[word] | bit : words[word] & ~bit;
      }
    })) words.fill(0);
  }

  /** Takes the next token, no end or stop token; true when the text is complete, so that nothing may be added. */
  accept(id: number): boolean {
    let complete = false;
    this.#try(() => this.#matcher.accept(id), (state) => complete = state === "complete");
    return complete;
  }

  /** Frees the automaton. Idempotent. */
  [Symbol.dispose](): void {
    this.#matcher[Symbol.dispose]();
  }

  #try<T>(run: () => T, use: (value: T) => void): boolean {
    if (this.#failure) return false;
    try {
      use(run());
      return true;
    } catch (error) {
      // Only the limits on what a step may cost, or a defect of the automaton, come here: tokens are those that it allowed.
      this.#failure = new ConstraintError((error as Error).message);
      return false;
    }
  }
}
