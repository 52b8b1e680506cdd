/** Finds a fixed set of strings in text: leftmost first, and of those that start at one place the longest. */
export class LiteralSet {
  readonly #ids = new Map<string, number>();
  /** Whether some literal starts with a UTF-16 unit. */
  readonly #starts = new Uint8Array(0x10000);
  /** Lengths of the literals that start with a unit, longest first. */
  readonly #lengths = new Map<number, number[]>();

  /** `literals` are non-empty strings with the number that stands for each. */
  constructor(literals: Iterable<readonly [string, number]>) {
    for (const [literal, id] of literals) {
      this.#ids.set(literal, id);
      const first = literal.charCodeAt(0);
      this.#starts[first] = 1;
      const lengths = this.#lengths.get(first) ?? [];
      if (!lengths.includes(literal.length)) lengths.push(literal.length);
      this.#lengths.set(first, lengths);
    }
    for (const lengths of this.#lengths.values()) lengths.sort((a, b) => b - a);
  }

  /** The first literal of `text` at or after `from`. */
  find(text: string, from: number): { index: number; literal: string; id: number } | undefined {
    if (this.#ids.size === 0) return undefined;
    for (let index = from; index < text.length; index++) {
      const first = text.charCodeAt(index);
      if (this.#starts[first] === 0) continue;
      for (const length of this.#lengths.get(first)!) {
        if (index + length > text.length) continue;
        const literal = text.slice(index, index + length);
        const id = this.#ids.get(literal);
        if (id !== undefined) return { index, literal, id };
      }
    }
    return undefined;
  }
}
