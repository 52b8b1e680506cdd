/** A class escape, another escape, or a bracket of a class. */
const pieces = /\\(?:[pP]\{[^{}]*\}|.)|[[\]]/gs;
/** Properties that were found to be some: one alone takes milliseconds, and there are a few thousand of them. */
const known = new Set<string>();

/**
 * Checks that `pattern` is one of ECMAScript. With the flags u and v the engine makes a set of characters, or of texts, of each class escape while it
 * only reads a pattern: a thousand times `\p{RGI_Emoji}` takes some five seconds. So properties are checked one by one, and the pattern with other
 * escapes in place of its own, which are allowed where those are.
 * @throws {SyntaxError}
 */
export function checkPattern(pattern: string, flags: string): void {
  // Refuses what are no flags.
  new RegExp("", flags);
  if (!/[uv]/.test(flags)) {
    new RegExp(pattern, flags);
    return;
  }
  let depth = 0;
  const plain = pattern.replace(pieces, (piece) => {
    if (piece === "[") depth++;
    if (piece === "]") depth = Math.max(0, depth - 1);
    if (!/^\\[pPdDsSwW]/.test(piece)) return piece;
    if (piece.length > 2) checkProperty(piece, flags.includes("v") ? "v" : "u");
    else if (/[pP]/.test(piece)) return piece;
    return depth > 0 ? "\\d" : ".";
  });
  const short = flags.replace("i", "");
  try {
    new RegExp(plain, short);
  } catch (error) {
    const { message } = error as SyntaxError;
    throw new SyntaxError(message.replace(`/${plain}/${short}`, () => `/${pattern}/${flags}`));
  }
}

function checkProperty(escape: string, flag: string): void {
  const key = flag + escape;
  if (known.has(key)) return;
  new RegExp(escape, flag);
  known.add(key);
}
