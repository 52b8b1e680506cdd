import type { Grammar } from "../../ffi/grammar.ts";
import { GrammarVocabulary } from "../../ffi/grammar_vocabulary.ts";
import { ConstraintError } from "../common/errors.ts";
import { ConstrainedText } from "./constrained_text.ts";
import { type GrammarSource, grammarSource } from "./grammar_source.ts";
import { SmallestFirst } from "./smallest_first.ts";
import type { TextConstraint } from "./text_constraint.ts";
import type { ToolCallConstraint } from "./tool_call_constraint.ts";

/** What a constraint needs to know of a tokenizer. */
export interface TokenSpellings {
  /** Number of tokens. */
  readonly size: number;
  /** The bytes that a token stands for; none for a control token. */
  bytes(id: number): Uint8Array;
}

/** A grammar that is being compiled, or waits for it. */
interface Pending {
  grammar: Promise<Grammar>;
  /** Requests that want it. */
  takers: number;
  unwanted: AbortController;
}

/** Compiled grammars that are kept. One takes some 100 kB, and with all the states that its lexer may find some 40 MB. */
const KEPT = 16;

/**
 * Compiles constraints for one model, off the isolate's thread and one after the other, small ones first, so that strangers' grammars take
 * one core at most and hold nobody up for long; keeps the latest.
 *
 * The automaton is the Rust crate `llguidance` in the native library. `@mlc-ai/web-xgrammar` 0.1.27 (WebAssembly) was measured first: it does
 * not load in Deno without a made `location`, a schema of 300 levels leaves its memory unusable for all later ones, what is wrong with a
 * grammar goes to stderr only, keywords it does not know are ignored, and it compiles a schema in 107 ms (llguidance: 2 to 5 ms). A mask
 * takes both a few µs, at 4K tokens 0.03 to 0.1 ms at the 99th percentile.
 */
export class ConstraintCompiler {
  readonly #tokens: TokenSpellings;
  readonly #endTokens: Iterable<number>;
  #vocabulary: Promise<GrammarVocabulary> | undefined;
  /** By source, least recently used first. */
  readonly #ready = new Map<string, Grammar>();
  readonly #pending = new Map<string, Pending>();
  readonly #queue = new SmallestFirst();

  constructor(tokens: TokenSpellings, endTokens: Iterable<number>) {
    this.#tokens = tokens;
    this.#endTokens = endTokens;
  }

  /**
   * A text that begins under `constraint`; at once where it is compiled already. `stopTokens` end it beside the model's own. What is not
   * wanted any longer, by its `signal`, is not compiled if it has not begun.
   * @throws {ConstraintError} for a constraint that cannot be kept, or without the native library; also as a rejection.
   */
  start(
    constraint: TextConstraint | ToolCallConstraint,
    stopTokens?: readonly number[],
    signal?: AbortSignal,
  ): ConstrainedText | Promise<ConstrainedText> {
    signal?.throwIfAborted();
    const source = grammarSource(constraint);
    const key = `${source.kind} ${source.text}`;
    const begin = (grammar: Grammar) =>
      // Texts of a grammar share what its lexer has found, which may have become too much.
      new ConstrainedText(grammar.start(), stopTokens, () => this.#forget(key, grammar));
    const ready = this.#ready.get(key);
    if (ready) {
      this.#ready.delete(key);
      this.#ready.set(key, ready);
      return begin(ready);
    }
    let pending = this.#pending.get(key);
    if (!pending || pending.unwanted.signal.aborted) {
      pending = this.#compile(source, key);
      this.#pending.set(key, pending);
    }
    const { grammar, unwanted } = pending;
    pending.takers++;
    signal?.addEventListener("abort", () => {
      if (--pending.takers === 0) unwanted.abort();
    });
    return grammar.then(begin);
  }

  #compile(source: GrammarSource, key: string): Pending {
    const unwanted = new AbortController();
    const work = async () => {
      this.#vocabulary ??= this.#open();
      return await compileLoosely(await this.#vocabulary, source);
    };
    const grammar = this.#queue.run(source.text.length, work, unwanted.signal).then((grammar) => {
      this.#ready.set(key, grammar);
      if (this.#ready.size > KEPT) this.#forget(...this.#ready.entries().next().value!);
      return grammar;
    }, (error) => {
      throw new ConstraintError((error as Error).message);
    }).finally(() => {
      if (this.#pending.get(key) === pending) this.#pending.delete(key);
    });
    const pending: Pending = { grammar, unwanted, takers: 0 };
    return pending;
  }

  /** Texts that began go on. */
  #forget(key: string, grammar: Grammar): void {
    if (this.#ready.get(key) !== grammar) return;
    this.#ready.delete(key);
    grammar[Symbol.dispose]();
  }

  async #open(): Promise<GrammarVocabulary> {
    const { size } = this.#tokens;
    const tokens = Array.from({ length: size }, (_, id) => this.#tokens.bytes(id));
    return await GrammarVocabulary.open(tokens, this.#endTokens);
  }

  /** Waits for what is being compiled and frees all; texts that began stay. */
  async close(): Promise<void> {
    await this.#queue.idle();
    for (const grammar of this.#ready.values()) grammar[Symbol.dispose]();
    this.#ready.clear();
    (await this.#vocabulary?.catch(() => undefined))?.[Symbol.dispose]();
    this.#vocabulary = undefined;
  }
}

async function compileLoosely(
  vocabulary: GrammarVocabulary,
  { kind, text, looser }: GrammarSource,
): Promise<Grammar> {
  try {
    return await vocabulary.compile(kind, text);
  } catch (error) {
    if (!looser) throw error;
    return await compileLoosely(vocabulary, looser());
  }
}
