import type { Vocab } from "./vocab.ts";

const nothing = new Uint8Array(0);

/**
 * Turns tokens into text as they come. Ids past the vocabulary stand for nothing. Bytes that do not yet make a whole code point are held back; bytes that can
 * make none come out as U+FFFD, one per maximal subpart as the Unicode standard (§3.9) and the web's decoders have it.
 */
export class StreamDecoder {
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #stripSpace: boolean;

  /**
   * `stripSpace`: the text starts here and a SentencePiece vocabulary put a space in front of it, which is not text.
   * `special`: control tokens are spelt out instead of left out; `visible`: these are.
   */
  constructor(
    vocab: Vocab,
    { stripSpace, special, visible }: {
      stripSpace: boolean;
      special: boolean;
      visible?: ReadonlySet<number>;
    },
  ) {
    this.#bytesOf = (id) => {
      // A model may have more rows than tokens, and choose one.
      if (id >= vocab.size) return nothing;
      return special || visible?.has(id) ? vocab.spelling(id) : vocab.bytes(id);
    };
    this.#stripSpace = stripSpace;
  }

  /** The text that token `id` completes; often empty within a character of several tokens. */
  push(id: number): string {
    const bytes = this.#take(id);
    return bytes.length === 0 ? "" : this.#decoder.decode(bytes, { stream: true });
  }

  /** The text that `ids` complete: the same as pushing them one by one, faster for many. */
  pushAll(ids: Iterable<number>): string {
    const parts = Array.from(ids, (id) => this.#take(id));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return this.#decoder.decode(bytes, { stream: true });
  }

  #take(id: number): Uint8Array {
    const bytes = this.#bytesOf(id);
    if (!this.#stripSpace || bytes.length === 0) return bytes;
    this.#stripSpace = false;
    return bytes[0] === 0x20 ? bytes.subarray(1) : bytes;
  }

  /** Ends the text: U+FFFD for an unfinished character, otherwise nothing. The decoder can then start a new text. */
  flush(): string {
    return this.#decoder.decode();
  }
}
