import { ModelFormatError } from "../common/errors.ts";
import { type MergeRules, PairMerger } from "./pair_merger.ts";
import { spaceMark, TokenType, type Vocab } from "./vocab.ts";
import { WordCache } from "./word_cache.ts";

const encoder = new TextEncoder();

// Classes of UTF-16 units: each ASCII one by itself, the space and its mark together, all others together.
const markClass = 0x20;
const otherClass = 0x80;
const classes = 0x81;
const classOf = new Uint8Array(0x10000).fill(otherClass);
for (let unit = 0; unit < otherClass; unit++) classOf[unit] = unit;
classOf[spaceMark.charCodeAt(0)] = markClass;

/**
 * SentencePiece's BPE (Kudo and Richardson 2018): neighbouring pieces whose concatenation is a token merge, the token
 * of the highest score first; a character without a token becomes its UTF-8 bytes.
 */
export class SpmEncoder {
  readonly #vocab: Vocab;
  readonly #unknown: number;
  /** Mergeable tokens by text. */
  readonly #pieces = new Map<string, number>();
  /** Position of each token in the order of falling scores; equal scores share one. */
  readonly #rank: Int32Array;
  readonly #byteToken: Int32Array;
  readonly #longest: number;
  /** Whether some token holds a unit of one class right before a unit of another (see `classOf`). */
  readonly #adjacent = new Uint8Array(classes * classes);
  readonly #merger = new PairMerger();
  readonly #cache = new WordCache();
  readonly #rules: MergeRules;
  #word = "";
  #start = new Int32Array(1024);
  #end = new Int32Array(1024);

  /** `unknown` is the token for a character that has neither token nor byte tokens, or -1. */
  constructor(vocab: Vocab, unknown: number) {
    this.#vocab = vocab;
    this.#unknown = unknown;
    if (vocab.scores.length !== vocab.size) {
      throw new ModelFormatError(
        `${vocab.file}: tokenizer.ggml.scores is absent, expected one score per token`,
      );
    }
    this.#rank = rankScores(vocab);
    this.#byteToken = Int32Array.from({ length: 256 }, (_, byte) => {
      const hex = byte.toString(16).padStart(2, "0");
      return vocab.ids.get(`<0x${hex.toUpperCase()}>`) ?? vocab.ids.get(`<0x${hex}>`) ?? -1;
    });
    let longest = 0;
    for (const [token, id] of vocab.ids) {
      if (vocab.types[id] !== TokenType.normal && vocab.types[id] !== TokenType.userDefined) {
        continue;
      }
      this.#pieces.set(token, id);
      longest = Math.max(longest, token.length);
      for (let at = 1; at < token.length; at++) {
        this
          .#adjacent[classOf[token.charCodeAt(at - 1)] * classes + classOf[token.charCodeAt(at)]] =
            1;
      }
    }
    // The halves of a surrogate pair are never cut apart.
    this.#adjacent[otherClass * classes + otherClass] = 1;
    this.#longest = longest;
    this.#rules = {
      rank: (left, right) => {
        const start = this.#start[left], end = this.#end[right];
        if (end - start > this.#longest) return -1;
        const id = this.#pieces.get(this.#word.slice(start, end));
        return id === undefined ? -1 : this.#rank[id];
      },
      merge: (left, right) => this.#end[left] = this.#end[right],
    };
  }

  /** Appends the tokens of `text` to `out`. Throws `RangeError` for text that the vocabulary cannot spell. */
  encode(text: string, out: number[]): void {
    if (text === "") return;
    // No token spans two neighbours that are neighbours in no token, so the text is cut there, exactly: before nearly
    // every space and between most letters and punctuation. The words that this leaves come from the cache.
    let start = 0;
    let left = classOf[text.charCodeAt(0)];
    for (let at = 1; at < text.length; at++) {
      const right = classOf[text.charCodeAt(at)];
      if (this.#adjacent[left * classes + right] === 0) {
        this.#encodeCached(text.slice(start, at), out);
        start = at;
      }
      left = right;
    }
    this.#encodeCached(text.slice(start), out);
  }

  #encodeCached(word: string, out: number[]): void {
    const known = this.#cache.get(word);
    if (known) {
      for (let i = 0; i < known.length; i++) out.push(known[i]);
      return;
    }
    const from = out.length;
    this.#encodeWord(word, out);
    this.#cache.set(word, out.slice(from));
  }

  #encodeWord(text: string, out: number[]): void {
    const word = text.replaceAll(" ", spaceMark);
    if (this.#start.length < word.length) {
      this.#start = new Int32Array(word.length);
      this.#end = new Int32Array(word.length);
    }
    this.#word = word;
    let count = 0;
    for (let at = 0; at < word.length; count++) {
      this.#start[count] = at;
      at += word.codePointAt(at)! > 0xffff ? 2 : 1;
      this.#end[count] = at;
    }
    this.#merger.run(count, this.#rules, (at) => {
      const piece = word.slice(this.#start[at], this.#end[at]);
      const id = this.#pieces.get(piece);
      if (id !== undefined) out.push(id);
      else this.#spellBytes(piece, out);
    });
    this.#word = "";
  }

  #spellBytes(piece: string, out: number[]): void {
    const bytes = encoder.encode(piece);
    if (bytes.every((byte) => this.#byteToken[byte] >= 0)) {
      for (const byte of bytes) out.push(this.#byteToken[byte]);
    } else if (this.#unknown >= 0) {
      out.push(this.#unknown);
    } else {
      throw new RangeError(
        `${
          JSON.stringify(piece)
        } has no token in ${this.#vocab.file}, expected byte tokens or an unknown token`,
      );
    }
  }
}

function rankScores(vocab: Vocab): Int32Array {
  const order = Array.from({ length: vocab.size }, (_, id) => id);
  for (const id of order) {
    if (!Number.isFinite(vocab.scores[id])) {
      throw new ModelFormatError(
        `${vocab.file}: tokenizer.ggml.scores[${id}] is ${
          vocab.scores[id]
        }, expected a finite number`,
      );
    }
  }
  order.sort((a, b) => vocab.scores[b] - vocab.scores[a]);
  const rank = new Int32Array(vocab.size);
  for (let i = 1; i < order.length; i++) {
    const same = vocab.scores[order[i]] === vocab.scores[order[i - 1]];
    rank[order[i]] = rank[order[i - 1]] + (same ? 0 : 1);
  }
  return rank;
}
