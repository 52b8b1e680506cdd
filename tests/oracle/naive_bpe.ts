/** Pair merging by its definition, quadratic and obvious: the oracle of the tokenizers. @module */

/**
 * Merges the pair of neighbours of the smallest rank, leftmost among equals, until `rank` is undefined for every pair;
 * merging concatenates.
 */
export function naiveMerge(
  symbols: readonly string[],
  rank: (left: string, right: string) => number | undefined,
): string[] {
  const row = [...symbols];
  for (;;) {
    let best = -1;
    let bestRank = Infinity;
    for (let i = 0; i + 1 < row.length; i++) {
      const r = rank(row[i], row[i + 1]);
      if (r !== undefined && r < bestRank) [best, bestRank] = [i, r];
    }
    if (best < 0) return row;
    row.splice(best, 2, row[best] + row[best + 1]);
  }
}

/** Byte-level BPE of one word: `spelled` is the word in the byte alphabet, `merges` are "left right", best first. */
export function naiveBpe(spelled: string, merges: readonly string[]): string[] {
  return naiveMerge([...spelled], (left, right) => {
    const rank = merges.indexOf(`${left} ${right}`);
    return rank < 0 ? undefined : rank;
  });
}

/** SentencePiece's BPE of a text whose spaces are already marked: pieces merge into tokens, highest score first. */
export function naiveSpm(marked: string, scores: ReadonlyMap<string, number>): string[] {
  return naiveMerge([...marked], (left, right) => {
    const score = scores.get(left + right);
    return score === undefined ? undefined : -score;
  });
}
