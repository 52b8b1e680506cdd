import { ModelFormatError } from "../common/errors.ts";
import { byteToChar } from "./byte_alphabet.ts";
import { type MergeRules, PairMerger } from "./pair_merger.ts";
import { PairTable } from "./pair_table.ts";
import type { Pretokenizer } from "./pretokenize.ts";
import type { Vocab } from "./vocab.ts";
import { WordCache } from "./word_cache.ts";

const encoder = new TextEncoder();

/** Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in Radford et al. 2019). */
export class BpeEncoder {
  readonly #vocab: Vocab;
  readonly #pretokenizer: Pretokenizer;
  /** Token of each byte, -1 when the vocabulary lacks it. */
  readonly #byteToken: Int32Array;
  readonly #unknown: number;
  readonly #ranks: PairTable;
  /** Token that each merge makes. */
  readonly #merged: Int32Array;
  readonly #merger = new PairMerger();
  readonly #cache = new WordCache();
  readonly #rules: MergeRules;
  #symbols = new Int32Array(1024);
  #utf8 = new Uint8Array(1024);

  /**
   * `merges` are "left right" pairs, best first; `unknown` is the token for a byte that the vocabulary lacks, or -1.
   * Throws `ModelFormatError` for a merge whose parts or result are not tokens.
   */
  constructor(
    vocab: Vocab,
    merges: readonly string[],
    pretokenizer: Pretokenizer,
    unknown: number,
  ) {
    this.#vocab = vocab;
    this.#pretokenizer = pretokenizer;
    this.#unknown = unknown;
    this.#byteToken = Int32Array.from(byteToChar, (char) => vocab.ids.get(char) ?? -1);
    this.#merged = new Int32Array(merges.length);
    this.#ranks = new PairTable(merges.length);
    for (let rank = 0; rank < merges.length; rank++) {
      const merge = merges[rank];
      const space = merge.indexOf(" ", 1);
      const left = vocab.ids.get(merge.slice(0, space));
      const right = vocab.ids.get(merge.slice(space + 1));
      const whole = vocab.ids.get(merge.slice(0, space) + merge.slice(space + 1));
      if (space < 1 || left === undefined || right === undefined || whole === undefined) {
        throw new ModelFormatError(
          `${vocab.file}: tokenizer.ggml.merges[${rank}] is ${JSON.stringify(merge)}, ` +
            `expected two tokens that make a third, with a space between`,
        );
      }
      this.#merged[rank] = whole;
      this.#ranks.add(left, right, rank);
    }
    const ranks = this.#ranks;
    this.#rules = {
      rank: (left, right) => ranks.get(this.#symbols[left], this.#symbols[right]),
      merge: (left, _right, rank) => this.#symbols[left] = this.#merged[rank],
    };
  }

  /** Appends the tokens of `text` to `out`. Throws `RangeError` for text that the vocabulary cannot spell. */
  encode(text: string, out: number[]): void {
    const form = this.#pretokenizer.composes ? text.normalize("NFC") : text;
    this.#pretokenizer.split(form, (word) => {
      const known = this.#cache.get(word);
      if (known) {
        for (let i = 0; i < known.length; i++) out.push(known[i]);
        return;
      }
      const start = out.length;
      this.#encodeWord(word, out);
      this.#cache.set(word, out.slice(start));
    });
  }

  #encodeWord(word: string, out: number[]): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    if (this.#utf8.length < 3 * word.length) {
      this.#utf8 = new Uint8Array(3 * word.length);
      this.#symbols = new Int32Array(3 * word.length);
    }
    const count = encoder.encodeInto(word, this.#utf8).written;
    if (this.#pretokenizer.wholeWords) {
      let spelled = "";
      for (let i = 0; i < count; i++) spelled += byteToChar[this.#utf8[i]];
      const whole = this.#vocab.ids.get(spelled);
      // A word of a text is no control token, whatever it spells: `special` decides on those.
      if (whole !== undefined && !this.#vocab.isControl(whole)) {
        out.push(whole);
        return;
      }
    }
    for (let i = 0; i < count; i++) this.#symbols[i] = this.#byteToken[this.#utf8[i]];
    this.#merger.run(
      count,
      this.#rules,
      (at) => out.push(this.#symbols[at] >= 0 ? this.#symbols[at] : this.#missing(at)),
    );
  }

  #missing(at: number): number {
    if (this.#unknown >= 0) return this.#unknown;
    throw new RangeError(
      `byte ${
        this.#utf8[at]
      } of the text has no token in ${this.#vocab.file}, expected a vocabulary with all 256 bytes`,
    );
  }
}
