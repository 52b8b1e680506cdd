import { Grammar } from "./grammar.ts";
import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** How the text of a grammar is read. */
export type GrammarKind = "json_schema" | "regex" | "lark";

const kinds: Record<GrammarKind, number> = { json_schema: 0, regex: 1, lark: 2 };

/** A model's tokens as the automaton of constrained decoding knows them. Lives in the native library. */
export class GrammarVocabulary implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;
  /** Number of tokens. */
  readonly size: number;

  private constructor(library: NativeLibrary, id: bigint, size: number) {
    this.#library = library;
    this.size = size;
    this.#handle = new Handle(
      this,
      "vocabulary",
      id,
      (id) => library.symbols.sparrow_vocabulary_dispose(id),
    );
  }

  /**
   * Prepares a vocabulary, off the main thread: 128K tokens take some 0.3 s.
   * @param tokens the bytes that each token stands for, none for a control token
   * @param endTokens tokens that end a text
   * @throws {RangeError} for an end token outside the vocabulary.
   * @throws {Error} without the native library.
   */
  static async open(
    tokens: readonly Uint8Array[],
    endTokens: Iterable<number>,
  ): Promise<GrammarVocabulary> {
    const library = loadNative();
    const lengths = Uint32Array.from(tokens, (bytes) => bytes.length);
    const bytes = new Uint8Array(tokens.reduce((sum, token) => sum + token.length, 0));
    let at = 0;
    for (const token of tokens) {
      bytes.set(token, at);
      at += token.length;
    }
    const ends = Uint32Array.from(endTokens);
    const out = new BigUint64Array(1);
    check(
      library,
      await library.symbols.sparrow_vocabulary_open(
        bytes,
        bytes.length,
        lengths,
        lengths.length,
        ends,
        ends.length,
        out,
      ),
    );
    return new GrammarVocabulary(library, out[0], tokens.length);
  }

  /**
   * Compiles a grammar, off the main thread: some milliseconds for an ordinary schema, with limits that a hostile one meets in
   * tens of them.
   * @throws {RangeError} for a text that is no grammar, uses what is not implemented, or is over the limits.
   */
  async compile(kind: GrammarKind, text: string): Promise<Grammar> {
    const bytes = new TextEncoder().encode(text);
    const out = new BigUint64Array(1);
    const { symbols } = this.#library;
    check(
      this.#library,
      await symbols.sparrow_grammar_compile(
        this.#handle.id,
        kinds[kind],
        bytes,
        bytes.length,
        out,
      ),
    );
    return new Grammar(this.#library, out[0], this.size);
  }

  /** Frees the memory; grammars compiled for it stay. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
