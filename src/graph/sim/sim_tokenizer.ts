/** Characters of one token: what English text comes to in common vocabularies. */
export const TOKEN_CHARS = 4;

/**
 * The simulator's tokens: every four characters are one, packed seven bits each, so that any ids turn back into text.
 * Characters beyond ASCII become `?`.
 */
export function encode(text: string): number[] {
  const ids = new Array<number>(Math.ceil(text.length / TOKEN_CHARS));
  for (let t = 0, at = 0; t < ids.length; t++) {
    let id = 0;
    const end = Math.min(at + TOKEN_CHARS, text.length);
    for (let shift = 0; at < end; at++, shift += 7) {
      const code = text.charCodeAt(at);
      id |= (code > 0 && code < 128 ? code : 63) << shift;
    }
    ids[t] = id;
  }
  return ids;
}

/** The text of `ids`. */
export function decode(ids: readonly number[]): string {
  let text = "";
  for (let id of ids) {
    for (; id > 0; id >>>= 7) text += String.fromCharCode(id & 127);
  }
  return text;
}

/** The next token of a text whose tokens hash to `seed`: letters and a space, `chars` in all, the same every time. */
export function pseudoToken(seed: number, index: number, chars: number = TOKEN_CHARS): number {
  let x = Math.imul(seed ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35);
  x ^= x >>> 13;
  let id = 32 << (7 * (chars - 1));
  for (let letter = 0; letter < chars - 1; letter++) {
    id |= (97 + ((x >>> (letter * 8)) & 255) % 26) << (7 * letter);
  }
  return id;
}

/** A 32-bit hash of the text that `ids` stand for, wherever its tokens were cut. */
export function hashIds(ids: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (let id of ids) {
    for (; id > 0; id >>>= 7) hash = Math.imul(hash ^ (id & 127), 0x01000193);
  }
  return hash >>> 0;
}
