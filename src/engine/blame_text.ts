/** `error` with the name of the text whose own fault it is, of several; other errors as they are. */
export function blameText(error: unknown, name: string): unknown {
  for (const Blaming of [RangeError, TypeError, SyntaxError]) {
    if (error instanceof Blaming) return new Blaming(`${name}: ${error.message}`, { cause: error });
  }
  return error;
}
