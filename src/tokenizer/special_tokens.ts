import type { GgufMetadata } from "../formats/gguf_metadata.ts";
import { LiteralSet } from "./literal_set.ts";
import { TokenType, type Vocab } from "./vocab.ts";

/** A run of plain text, or one token. */
export type Fragment = string | number;

/** Finds the tokens that are written out in text: user-defined ones always, control ones where they are asked for. */
export class SpecialTokens {
  readonly #userDefined: LiteralSet;
  readonly #control: LiteralSet;
  readonly #all: LiteralSet;
  /** Control tokens, and user-defined ones that are marks of calls, tools and results. */
  readonly #marks: LiteralSet;
  /** Tokens that swallow the white space after them. */
  readonly #swallowing = new Set<number>();

  constructor(vocab: Vocab, metadata: GgufMetadata) {
    const ofType = (...types: number[]) =>
      [...vocab.ids].filter(([, id]) => types.includes(vocab.types[id]));
    const userDefined = ofType(TokenType.userDefined);
    const control = ofType(TokenType.control, TokenType.unknown);
    this.#userDefined = new LiteralSet(userDefined);
    this.#control = new LiteralSet(control);
    this.#all = new LiteralSet([...userDefined, ...control]);
    const marks = userDefined.filter(([text]) => /tool|python_tag/i.test(text));
    this.#marks = new LiteralSet([...control, ...marks]);

    // GGUF has no field for it; Phi-3's is the one llama-style vocabulary whose added tokens do this.
    if (/(?<![a-z])phi[- ]?3/i.test(metadata.string("general.name", ""))) {
      for (const [text, id] of [...userDefined, ...control]) {
        if (text !== "<unk>" && text !== "<s>" && text !== "<|endoftext|>") {
          this.#swallowing.add(id);
        }
      }
    }
  }

  /** Cuts `text` at its special tokens; `control` says whether control tokens count. */
  split(text: string, control: boolean): Fragment[] {
    const literals = control ? this.#all : this.#userDefined;
    const fragments: Fragment[] = [];
    let start = 0;
    for (let found = literals.find(text, 0); found; found = literals.find(text, start)) {
      if (found.index > start) fragments.push(text.slice(start, found.index));
      fragments.push(found.id);
      start = found.index + found.literal.length;
      if (this.#swallowing.has(found.id)) {
        while (start < text.length && " \t\n\v\f\r".includes(text[start])) start++;
      }
    }
    if (start < text.length) fragments.push(text.slice(start));
    return fragments;
  }

  /**
   * `text` with `mark` put inside every control token written in it, so that it is none any more; with `marks` also inside the user-defined
   * tokens that models set off calls and results with.
   */
  disarm(text: string, mark: string, marks = false): string {
    const literals = marks ? this.#marks : this.#control;
    let disarmed = "";
    let start = 0;
    for (let found = literals.find(text, 0); found; found = literals.find(text, start)) {
      // After the first unit only: the search goes on inside the token, where another one may begin.
      disarmed += text.slice(start, found.index + 1) + mark;
      start = found.index + 1;
    }
    return disarmed + text.slice(start);
  }
}
