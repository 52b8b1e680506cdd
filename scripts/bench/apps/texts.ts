import { join } from "@std/path";
import { Rng } from "../../../src/common/rng.ts";

/** Characters of a token, as the simulator counts. */
const TOKEN_CHARS = 4;

const words =
  ("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which " +
    "one you were all her she there would their we him been has when who will no more if out so up said what its about " +
    "than into them can only other time new some could these two may first then do any like my now over such our man")
    .split(" ");

/** Text for prompts: of a real article and system prompt where there is a data folder, else made of common words. */
export class Texts {
  readonly #article: string;
  readonly #system: string;

  private constructor(article: string, system: string) {
    this.#article = article;
    this.#system = system;
  }

  /** Reads `<data>/apps`, or makes texts up from `seed`. */
  static async open(data?: string, seed = 1): Promise<Texts> {
    if (data === undefined) return new Texts(filler(120_000, seed), filler(40_000, seed + 1));
    const read = async (path: string) =>
      (await Deno.readTextFile(join(data, "apps", path))).replace(/[^\x20-\x7e]+/g, " ").replace(
        / +/g,
        " ",
      );
    const articles = [];
    for (let i = 0; i < 3; i++) articles.push(await read(`arxiv/article_${i}.txt`));
    const preamble = await read("sydney-prompt-preamble.txt");
    // The preamble is 12 KB; the prompt of the paper's search copilot, with its retrieved pages, is twice that.
    return new Texts(articles.join("\n"), preamble + articles[2]);
  }

  /** Chunk number `index` of the article. */
  article(index: number, tokens: number): string {
    return cut(this.#article, index * tokens * TOKEN_CHARS, tokens);
  }

  /** The system prompt, in `tokens`. */
  system(tokens: number): string {
    return cut(this.#system, 0, tokens);
  }

  /** What user number `user` asks. */
  query(user: number, tokens: number): string {
    return filler(tokens * TOKEN_CHARS, 1000 + user);
  }
}

function cut(text: string, start: number, tokens: number): string {
  const length = tokens * TOKEN_CHARS;
  const from = start % Math.max(1, text.length - length);
  return text.slice(from, from + length);
}

/** `chars` characters of common words. */
export function filler(chars: number, seed: number): string {
  const rng = new Rng(seed);
  const parts: string[] = [];
  for (let length = 0; length < chars;) {
    const word = words[rng.integer(words.length)];
    parts.push(word);
    length += word.length + 1;
  }
  return parts.join(" ").slice(0, chars);
}
