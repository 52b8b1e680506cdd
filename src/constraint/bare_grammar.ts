/** A Lark grammar without its strings, regular expressions and comments: what is left are names and operators. */
export function bareGrammar(grammar: string): string {
  let bare = "";
  let at = 0;
  while (at < grammar.length) {
    const letter = grammar[at];
    if (letter === "#" || grammar.startsWith("//", at)) at = endOfLine(grammar, at);
    else if (letter === '"' || letter === "/") at = endOfLiteral(grammar, at);
    else {
      bare += letter;
      at++;
    }
  }
  return bare;
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

/** Behind the string or expression that begins at `from`, or at the end of a line that does not end it. */
function endOfLiteral(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\n") return at;
    if (text[at] === text[from]) return at + 1;
    if (text[at] === "\\") at++;
  }
  return text.length;
}
