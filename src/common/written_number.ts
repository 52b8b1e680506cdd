/** A number of JSON that a double does not hold as it was written: an integer of 2⁵³ or more, or a float that has no fraction (`1.0`). */
export class WrittenNumber {
  // Hidden, so that going through values of JSON does not find more in it.
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** What it is in Python: an integer or a float. */
  get value(): bigint | number {
    return integer.test(this.#text) ? BigInt(this.#text) : Number(this.#text);
  }

  /** For `JSON.stringify`: as it was written. */
  toJSON(): unknown {
    return (JSON as typeof JSON & { rawJSON(text: string): unknown }).rawJSON(this.#text);
  }
}

const integer = /^-?\d+$/;

/** Digits of an integer that Python's `int` reads at most. */
const MOST_DIGITS = 4300;

/**
 * The value of JSON that `text` is, with `WrittenNumber`s where doubles would not do, and whether there are none. Throws `SyntaxError` for
 * what is no JSON.
 */
export function parseWritten(text: string): { value: unknown; plain: boolean } {
  let plain = true;
  const exact = (_name: string, value: unknown, { source = "" }: { source?: string } = {}) => {
    if (typeof value !== "number") return value;
    // Of 309 digits and more the parser makes infinity.
    const held = integer.test(source)
      ? Number.isSafeInteger(value) || source.length > MOST_DIGITS
      : !Number.isInteger(value);
    if (held) return value;
    plain = false;
    return new WrittenNumber(source);
  };
  return { value: JSON.parse(text, exact), plain };
}
