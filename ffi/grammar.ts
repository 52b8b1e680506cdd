import { GrammarMatcher } from "./grammar_matcher.ts";
import { Handle } from "./handle.ts";
import type { NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** A compiled grammar. Lives in the native library. */
export class Grammar implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;
  readonly #size: number;

  /** Takes over the native grammar `id`, compiled for a vocabulary of `size` tokens. */
  constructor(library: NativeLibrary, id: bigint, size: number) {
    this.#library = library;
    this.#size = size;
    this.#handle = new Handle(
      this,
      "grammar",
      id,
      (id) => library.symbols.sparrow_grammar_dispose(id),
    );
  }

  /** A text that begins. */
  start(): GrammarMatcher {
    const out = new BigUint64Array(1);
    check(this.#library, this.#library.symbols.sparrow_matcher_open(this.#handle.id, out));
    return new GrammarMatcher(this.#library, out[0], this.#size);
  }

  /** Frees the memory; texts that began stay. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
