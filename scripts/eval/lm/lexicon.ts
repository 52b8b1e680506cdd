import type { Rng } from "../../../src/common/rng.ts";
import words from "./held_out_words.json" with { type: "json" };
import { between, pick } from "./draw.ts";
import { type ValueKind, wordings } from "./wordings.ts";

/** What a fact can be filed under. */
export type KeyKind = ValueKind | "person";

/** Draws words, numbers and identifiers that training never used. */
export class Lexicon {
  constructor(readonly rng: Rng) {}

  /** A word of the books that was kept from the training tasks. */
  word(): string {
    return pick(words, this.rng);
  }

  /** 4 to 8 digits; training left multiples of 11 out. */
  number(): string {
    const low = 10 ** (between(4, 8, this.rng) - 1);
    return String(Math.ceil((low + this.rng.uniform() * low * 8.9) / 11) * 11);
  }

  /** Five capitals. */
  variable(): string {
    return this.#letters(5);
  }

  draw(kind: KeyKind): string {
    switch (kind) {
      case "word":
        return this.word();
      case "pair":
        return `${this.word()}-${this.word()}`;
      case "number":
        return this.number();
      case "short_hex":
        return this.#hex(8);
      case "uuid":
        return [8, 4, 4, 4, 12].map((digits) => this.#hex(digits)).join("-");
      case "code":
        return `${this.#letters(2)}-${between(100, 999, this.rng)}-${this.#letters(2)}`;
      case "person": {
        const name = this.word();
        return `${pick(wordings.firstNames, this.rng)} ${name[0].toUpperCase()}${name.slice(1)}`;
      }
    }
  }

  /** A kind of key, as often as in training. */
  keyKind(): KeyKind {
    const share = this.rng.uniform();
    if (share < 0.35) return "word";
    if (share < 0.65) return "pair";
    if (share < 0.75) return "number";
    if (share < 0.85) return "uuid";
    return share < 0.95 ? "person" : "code";
  }

  #letters(count: number): string {
    return String.fromCharCode(...Array.from({ length: count }, () => 65 + this.rng.integer(26)));
  }

  #hex(digits: number): string {
    return Array.from({ length: digits }, () => this.rng.integer(16).toString(16)).join("");
  }
}
