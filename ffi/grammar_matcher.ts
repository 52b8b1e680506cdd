import { Handle } from "./handle.ts";
import type { NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** What may come after the tokens so far: more must, the text may end, or it is complete and nothing may be added. */
export type MatcherState = "open" | "whole" | "complete";

const states: readonly MatcherState[] = ["open", "whole", "complete"];

/** A text on its way through a grammar, token by token. Lives in the native library. */
export class GrammarMatcher implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;
  readonly #size: number;
  readonly #out = new Uint32Array(1);

  /** Takes over the native matcher `id`, over a vocabulary of `size` tokens. */
  constructor(library: NativeLibrary, id: bigint, size: number) {
    this.#library = library;
    this.#size = size;
    this.#handle = new Handle(
      this,
      "grammar matcher",
      id,
      (id) => library.symbols.sparrow_matcher_dispose(id),
    );
  }

  /**
   * Takes the next token of the text.
   * @throws {RangeError} for a token that the mask did not allow, or a grammar that has become too complex; the matcher is then of no
   *   more use.
   */
  accept(token: number): MatcherState {
    const { symbols } = this.#library;
    check(this.#library, symbols.sparrow_matcher_accept(this.#handle.id, token, this.#out));
    return states[this.#out[0]];
  }

  /**
   * Writes the set of tokens that may come next: bit `id % 32` of word `id / 32`, and zeros past the vocabulary. An end token is among
   * them where the text may end.
   *
   * @param words at least a bit for each token
   * @returns whether the text may end here
   * @throws {RangeError} for fewer words, or a grammar that has become too complex.
   */
  mask(words: Uint32Array<ArrayBuffer>): boolean {
    const { symbols } = this.#library;
    const own = words.subarray(0, Math.ceil(this.#size / 32));
    check(
      this.#library,
      symbols.sparrow_matcher_mask(this.#handle.id, own, own.length, this.#out),
    );
    words.fill(0, own.length);
    return this.#out[0] === 1;
  }

  /** Frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
