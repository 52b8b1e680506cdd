import type { Vocab } from "./vocab.ts";

/** What a token stands for. */
export interface TokenText {
  /** Its text: control tokens are spelt out, and bytes that make no whole characters are written `\xNN`. */
  readonly token: string;
  /** The bytes of UTF-8 that it stands for; null for a control token, which stands for no text. */
  readonly bytes: readonly number[] | null;
}

const nothing: TokenText = Object.freeze({ token: "", bytes: null });
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What token `id` of `vocab` stands for: nothing for an id that a model has beyond its vocabulary. */
export function tokenText(vocab: Vocab, id: number): TokenText {
  if (!(id < vocab.size)) return nothing;
  const bytes = vocab.spelling(id);
  return { token: readable(bytes), bytes: vocab.isControl(id) ? null : [...bytes] };
}

function readable(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    // A part of a character, as most tokens are that are no text: its bytes, so that two of them do not look the same.
    return Array.from(
      bytes,
      (byte) => byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`,
    ).join("");
  }
}
