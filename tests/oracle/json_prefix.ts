/** Whether `text` is the beginning of some JSON text (RFC 8259), possibly all of it. */
export function isJsonPrefix(text: string): boolean {
  return new Prefix(text).holds();
}

/** Thrown where the text ends before the JSON does. */
class Ended extends Error {}
/** Thrown where the text can go on to no JSON. */
class Wrong extends Error {}

class Prefix {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  holds(): boolean {
    try {
      this.#value();
      this.#blank();
      return this.#at === this.#text.length;
    } catch (error) {
      if (error instanceof Ended) return true;
      if (error instanceof Wrong) return false;
      throw error;
    }
  }

  #next(): string {
    if (this.#at === this.#text.length) throw new Ended();
    return this.#text[this.#at++];
  }

  #expect(letters: string): void {
    for (const letter of letters) if (this.#next() !== letter) throw new Wrong();
  }

  #blank(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? "")) this.#at++;
  }

  #value(): void {
    this.#blank();
    const first = this.#next();
    if (first === "{") return this.#list("}", () => this.#member());
    if (first === "[") return this.#list("]", () => this.#value());
    if (first === '"') return this.#string();
    const word = ["true", "false", "null"].find((word) => word[0] === first);
    if (word) return this.#expect(word.slice(1));
    this.#at--;
    this.#number();
  }

  #list(end: string, item: () => void): void {
    this.#blank();
    if (this.#next() === end) return;
    this.#at--;
    for (;;) {
      item();
      this.#blank();
      const next = this.#next();
      if (next === end) return;
      if (next !== ",") throw new Wrong();
    }
  }

  #member(): void {
    this.#blank();
    this.#expect('"');
    this.#string();
    this.#blank();
    this.#expect(":");
    this.#value();
  }

  #string(): void {
    for (;;) {
      const next = this.#next();
      if (next === '"') return;
      if (next < " ") throw new Wrong();
      if (next !== "\\") continue;
      const escaped = this.#next();
      if (!'"\\/bfnrtu'.includes(escaped)) throw new Wrong();
      for (let i = 0; escaped === "u" && i < 4; i++) {
        if (!/[0-9a-fA-F]/.test(this.#next())) throw new Wrong();
      }
    }
  }

  #number(): void {
    const rest = this.#text.slice(this.#at);
    const [whole] = rest.match(/^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/) ?? [""];
    const open = [
      /^-?$/,
      /^-?(0|[1-9][0-9]*)(\.[0-9]*)?$/,
      /^-?(0|[1-9][0-9]*)(\.[0-9]+)?[eE][+-]?[0-9]*$/,
    ];
    if (open.some((beginning) => beginning.test(rest))) throw new Ended();
    if (whole === "") throw new Wrong();
    this.#at += whole.length;
  }
}
