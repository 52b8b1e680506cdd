import type { Rng } from "../../../src/common/rng.ts";

/** Counts the tokens of a text. */
export type CountTokens = (text: string) => number;

/** Running text that statements are hidden in, cut at sentence ends. */
export class Haystack {
  readonly #sentences: { text: string; tokens: number }[];
  readonly #count: CountTokens;

  /** `text` is cut after each full stop, question or exclamation mark; a sentence keeps the space before it. */
  constructor(text: string, count: CountTokens) {
    this.#count = count;
    this.#sentences = (text.match(/[\s\S]*?(?:[.!?]["']?(?=\s)|$)/g) ?? [])
      .filter((part) => part !== "")
      .map((part) => ({ text: part, tokens: count(part) }));
  }

  /**
   * The statements, in order, in running text of `tokens` tokens together. Each goes to the share of the text that
   * `depths` says, or to random places. Throws `RangeError` when the book is too short.
   */
  hide(
    statements: readonly string[],
    tokens: number,
    rng: Rng,
    depths?: readonly number[],
  ): string {
    const inline = statements.every((statement) => statement.endsWith(".")) && rng.uniform() < 0.4;
    const needed = tokens - statements.reduce((sum, text) => sum + this.#count(text) + 2, 0);
    const chosen = this.#take(needed, rng);
    const places = (depths ?? statements.map(() => rng.uniform()))
      .map((depth) => Math.round(depth * chosen.length)).sort((a, b) => a - b);
    let text = "";
    let next = 0;
    for (let index = 0; index <= chosen.length; index++) {
      for (; next < statements.length && places[next] === index; next++) {
        if (inline) text += ` ${statements[next]}`;
        else text += `${text === "" || text.endsWith("\n") ? "" : "\n"}${statements[next]}\n`;
      }
      if (index < chosen.length) text += chosen[index];
    }
    return text;
  }

  #take(tokens: number, rng: Rng): string[] {
    const total = this.#sentences.reduce((sum, sentence) => sum + sentence.tokens, 0);
    if (total < tokens) {
      throw new RangeError(`hide in ${tokens} tokens of running text: the book has ${total}`);
    }
    let index = rng.integer(this.#sentences.length);
    const out: string[] = [];
    for (let sum = 0; sum < tokens; index = (index + 1) % this.#sentences.length) {
      sum += this.#sentences[index].tokens;
      if (sum <= tokens || out.length === 0) out.push(this.#sentences[index].text);
    }
    return out;
  }
}
