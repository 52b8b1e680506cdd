/**
 * The share of `values` that stand in `answer` as wholes, RULER's measure: a number inside a longer one, or a word
 * inside a hyphenated one, does not count.
 */
export function scoreAnswer(answer: string, values: readonly string[]): number {
  const found = values.filter((value) => {
    const literal = value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return new RegExp(`(?<![\\w-])${literal}(?![\\w-])`).test(answer);
  });
  return found.length / values.length;
}
