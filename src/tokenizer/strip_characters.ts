/** White space as Python knows it. */
// deno-lint-ignore no-control-regex -- separators are control characters
const pythonSpace = /[^\S\ufeff]|[\x1c-\x1f\x85]/;

/**
 * `text` without any of `characters` at its ends, as Python's `strip`, `lstrip` and `rstrip` have it.
 *
 * @param method which of the three
 * @param characters a set of code points; without it white space
 */
export function stripCharacters(
  method: "strip" | "lstrip" | "rstrip",
  text: string,
  characters?: string,
): string {
  const set = characters === undefined ? undefined : new Set(characters);
  const stripped = (character: string) => set?.has(character) ?? pythonSpace.test(character);
  let start = 0;
  let end = text.length;
  while (method !== "rstrip" && start < end) {
    const character = String.fromCodePoint(text.codePointAt(start)!);
    if (!stripped(character)) break;
    start += character.length;
  }
  while (method !== "lstrip" && end > start) {
    const pair = text.codePointAt(end - 2) ?? 0;
    const character = pair > 0xffff && end - 2 >= start
      ? String.fromCodePoint(pair)
      : text[end - 1];
    if (!stripped(character)) break;
    end -= character.length;
  }
  return text.slice(start, end);
}
