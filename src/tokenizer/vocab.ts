import { ModelFormatError } from "../common/errors.ts";
import type { GgufMetadata } from "../formats/gguf_metadata.ts";
import { charToByte } from "./byte_alphabet.ts";

/** GGUF's token types (`tokenizer.ggml.token_type`). */
export const TokenType = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** The stand-in for a space in SentencePiece vocabularies, U+2581. */
export const spaceMark = "▁";

/**
 * Tokens that set turns off from each other, or end a text. They are control tokens under whatever type a file gives: conversions have written
 * them as ordinary or user-defined ones, with which turns would not end, and any message could begin one.
 */
const turnMarks = new Set([
  "<|im_start|>",
  "<|im_end|>",
  "<start_of_turn>",
  "<end_of_turn>",
  "<|start_header_id|>",
  "<|end_header_id|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|end|>",
  "<end_of_utterance>",
  "<｜end▁of▁sentence｜>",
]);

const maxTokens = 1 << 20;
const encoder = new TextEncoder();
const nothing = new Uint8Array(0);

/** The tokens of a model, as its GGUF metadata gives them. */
export class Vocab {
  /** `bpe`: byte-level, GPT-2's alphabet. `spm`: SentencePiece, byte fallback. */
  readonly kind: "bpe" | "spm";
  /** The file, for errors. */
  readonly file: string;
  readonly tokens: readonly string[];
  /** One {@linkcode TokenType} per token. */
  readonly types: ArrayLike<number>;
  /** One score per token; empty when the file has none. */
  readonly scores: ArrayLike<number>;
  /** Token id by its text as the file spells it. */
  readonly ids: ReadonlyMap<string, number>;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  /** Throws `ModelFormatError` unless the metadata holds a `gpt2` or `llama` vocabulary. */
  constructor(metadata: GgufMetadata) {
    this.file = metadata.file;
    const model = metadata.string("tokenizer.ggml.model");
    if (model !== "gpt2" && model !== "llama") {
      throw metadata.error(
        "tokenizer.ggml.model",
        '"gpt2" (byte-level BPE) or "llama" (SentencePiece)',
      );
    }
    this.kind = model === "gpt2" ? "bpe" : "spm";

    this.tokens = metadata.strings("tokenizer.ggml.tokens");
    const count = this.tokens.length;
    if (count < 1 || count > maxTokens) {
      throw metadata.error("tokenizer.ggml.tokens", `1 to ${maxTokens} tokens`);
    }
    const perToken = (key: string) => {
      const values = metadata.numbers(key);
      if (values.length !== count) throw metadata.error(key, `an array of ${count}, one per token`);
      return values;
    };
    const types = metadata.has("tokenizer.ggml.token_type")
      ? perToken("tokenizer.ggml.token_type")
      : undefined;
    this.types = Int32Array.from(this.tokens, (token, id) => {
      if (turnMarks.has(token)) return TokenType.control;
      return types?.[id] ??
        (byteTokenValue(token) === undefined ? TokenType.normal : TokenType.byte);
    });
    this.scores = metadata.has("tokenizer.ggml.scores") ? perToken("tokenizer.ggml.scores") : [];

    const ids = new Map<string, number>();
    for (let id = 0; id < count; id++) {
      const token = this.tokens[id];
      if (token === "") continue;
      const first = ids.get(token);
      if (first !== undefined) {
        throw new ModelFormatError(
          `${this.file}: tokenizer.ggml.tokens[${id}] is ${
            JSON.stringify(token)
          }, the text of token ${first}, ` +
            `expected every token once`,
        );
      }
      ids.set(token, id);
    }
    this.ids = ids;
  }

  get size(): number {
    return this.tokens.length;
  }

  /** Whether `id` is a control token, which stands for no text. */
  isControl(id: number): boolean {
    return this.types[id] === TokenType.control || this.types[id] === TokenType.unknown;
  }

  /** The bytes that token `id` stands for; none for a control token. Throws `RangeError` for an id out of range. */
  bytes(id: number): Uint8Array {
    return this.#bytes[id] ??= this.isControl(this.checked(id)) ? nothing : this.#spell(id);
  }

  /** The text of token `id` as UTF-8, control tokens spelt out. */
  spelling(id: number): Uint8Array {
    return this.isControl(this.checked(id)) ? encoder.encode(this.tokens[id]) : this.bytes(id);
  }

  /** `id` itself. Throws `RangeError` for one out of range. */
  checked(id: number): number {
    if (!Number.isInteger(id) || id < 0 || id >= this.size) {
      throw new RangeError(`token id is ${id}, expected an integer in [0, ${this.size})`);
    }
    return id;
  }

  #spell(id: number): Uint8Array {
    const token = this.tokens[id];
    const type = this.types[id];
    if (type === TokenType.userDefined) return encoder.encode(token);
    if (type === TokenType.byte) return Uint8Array.of(byteTokenValue(token) ?? this.#badByte(id));
    if (this.kind === "spm") return encoder.encode(token.replaceAll(spaceMark, " "));
    const bytes = new Uint8Array(token.length);
    for (let i = 0; i < token.length; i++) {
      const byte = charToByte.get(token[i]);
      // A token outside the byte alphabet was added to the vocabulary as plain text.
      if (byte === undefined) return encoder.encode(token);
      bytes[i] = byte;
    }
    return bytes;
  }

  #badByte(id: number): never {
    throw new ModelFormatError(
      `${this.file}: tokenizer.ggml.tokens[${id}] of type byte is ${
        JSON.stringify(this.tokens[id])
      }, ` +
        'expected "<0x00>" to "<0xFF>"',
    );
  }
}

/** The byte that `<0xNN>` names; undefined for any other text. */
export function byteTokenValue(token: string): number | undefined {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? parseInt(token.slice(3, 5), 16) : undefined;
}
