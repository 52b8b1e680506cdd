import type { GgufMetadata } from "../formats/gguf_metadata.ts";
import { TokenType, type Vocab } from "./vocab.ts";

function alternation(texts: readonly string[]): RegExp | undefined {
  if (texts.length === 0) return undefined;
  const escaped = texts.map((t) => t.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  // Longest first: where one token's text begins another's, the longer one is meant.
  return new RegExp(escaped.sort((a, b) => b.length - a.length).join("|"), "g");
}

/** A run of plain text, or one token. */
export type Fragment = string | number;

/** Finds the tokens that are written out in text: user-defined ones always, control ones where they are asked for. */
export class SpecialTokens {
  readonly #vocab: Vocab;
  readonly #userDefined: RegExp | undefined;
  readonly #control: RegExp | undefined;
  readonly #all: RegExp | undefined;
  /** Tokens that swallow the white space after them. */
  readonly #swallowing = new Set<number>();

  constructor(vocab: Vocab, metadata: GgufMetadata) {
    this.#vocab = vocab;
    const ofType = (...types: number[]) =>
      [...vocab.ids].filter(([, id]) => types.includes(vocab.types[id]));
    const userDefined = ofType(TokenType.userDefined);
    const control = ofType(TokenType.control, TokenType.unknown);
    const texts = (entries: [string, number][]) => entries.map(([text]) => text);
    this.#userDefined = alternation(texts(userDefined));
    this.#control = alternation(texts(control));
    this.#all = alternation(texts([...userDefined, ...control]));

    // GGUF has no field for it; Phi-3's tokenizer is the one llama-style vocabulary whose added tokens do this.
    if (/phi-?3/i.test(metadata.string("general.name", ""))) {
      for (const [text, id] of [...userDefined, ...control]) {
        if (text !== "<unk>" && text !== "<s>" && text !== "<|endoftext|>") {
          this.#swallowing.add(id);
        }
      }
    }
  }

  /** Cuts `text` at its special tokens; `control` says whether control tokens count. */
  split(text: string, control: boolean): Fragment[] {
    const pattern = control ? this.#all : this.#userDefined;
    if (!pattern) return text === "" ? [] : [text];
    const fragments: Fragment[] = [];
    let start = 0;
    for (const match of text.matchAll(pattern)) {
      if (match.index < start) continue;
      if (match.index > start) fragments.push(text.slice(start, match.index));
      const id = this.#vocab.ids.get(match[0])!;
      fragments.push(id);
      start = match.index + match[0].length;
      if (this.#swallowing.has(id)) {
        while (start < text.length && " \t\n\v\f\r".includes(text[start])) start++;
      }
    }
    if (start < text.length) fragments.push(text.slice(start));
    return fragments;
  }

  /** `text` with `mark` put inside every control token written in it, so that it is none any more. */
  disarm(text: string, mark: string): string {
    if (!this.#control) return text;
    return text.replace(this.#control, (token) => token[0] + mark + token.slice(1));
  }
}
