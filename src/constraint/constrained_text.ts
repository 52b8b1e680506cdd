import type { GrammarMatcher } from "../../ffi/grammar_matcher.ts";
import { ConstraintError } from "../common/errors.ts";

/** A text that is generated under a constraint: which tokens may come next, and when it is complete. */
export class ConstrainedText implements Disposable {
  readonly #matcher: GrammarMatcher;
  readonly #stopTokens: readonly number[];
  readonly #onFailure: () => void;
  #failure: ConstraintError | undefined;
  #mayEnd = false;

  /**
   * Takes over `matcher`. `stopTokens` may end the generation beside the model's own end tokens; `onFailure` is called once, when the
   * constraint cannot be kept any longer.
   */
  constructor(
    matcher: GrammarMatcher,
    stopTokens: readonly number[] = [],
    onFailure: () => void = () => {},
  ) {
    this.#matcher = matcher;
    this.#onFailure = onFailure;
    this.#stopTokens = stopTokens;
  }

  /** Why the constraint cannot be kept any longer: no token is allowed then. */
  get failure(): ConstraintError | undefined {
    return this.#failure;
  }

  /** Whether the text might have ended where the latest mask was made. */
  get mayEnd(): boolean {
    return this.#mayEnd;
  }

  /**
   * Writes the set of tokens that may come next, bit `id % 32` of word `id / 32`; end and stop tokens are among them where the text may
   * end. None once the constraint has failed.
   */
  mask(words: Uint32Array<ArrayBuffer>): void {
    this.#try(() => {
      this.#mayEnd = this.#matcher.mask(words);
      for (const id of this.#mayEnd ? this.#stopTokens : []) {
        if (id < words.length * 32) words[Math.floor(id / 32)] |= 1 << (id % 32);
      }
      if (words.every((word) => word === 0)) {
        throw new ConstraintError("constraint: no token of this model can go on with the text");
      }
    });
    if (this.#failure) words.fill(0);
  }

  /** Takes the next token of the text; true when the text is complete, so that nothing may be added. */
  accept(id: number): boolean {
    let complete = false;
    this.#try(() => complete = this.#matcher.accept(id) === "complete");
    return complete;
  }

  /** Frees the automaton. Idempotent. */
  [Symbol.dispose](): void {
    this.#matcher[Symbol.dispose]();
  }

  #try(run: () => void): void {
    if (this.#failure) return;
    try {
      run();
    } catch (error) {
      // Only the limits on what a step may cost, or a defect of the automaton, come here: tokens are those that it allowed.
      this.#failure = new ConstraintError((error as Error).message);
      this.#onFailure();
    }
  }
}
