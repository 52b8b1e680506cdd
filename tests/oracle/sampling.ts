/** Sampling a token from logits, in f64. @module */

/** What restricts a draw; as `SamplingOptions`, less the seed. */
export interface Restriction {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
}

/** Natural-logarithm probabilities of `logits`. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = values.reduce((total, x) => total + Math.exp(x - top), 0);
  return values.map((x) => x - top - Math.log(sum));
}

/**
 * The probability of every token: temperature, then top-k, then top-p over what is left, and min-p against the likeliest.
 * Tokens as likely as the last one kept are kept.
 */
export function samplingOracle(
  logits: ArrayLike<number>,
  { temperature, topK, topP, minP }: Restriction,
): Float64Array {
  const scaled = Float64Array.from(logits, (x) => x / temperature);
  const order = [...scaled].sort((a, b) => b - a);
  let least = -Infinity;
  if (topK > 0 && topK < order.length) least = order[topK - 1];
  const probability = logSoftmax(scaled).map(Math.exp);
  if (topP < 1) {
    const left = [...scaled.keys()].filter((i) => scaled[i] >= least);
    const mass = left.reduce((sum, i) => sum + probability[i], 0);
    left.sort((a, b) => scaled[b] - scaled[a]);
    let sum = 0;
    let last = 0;
    do sum += probability[left[last++]]; while (sum < topP * mass);
    least = scaled[left[last - 1]];
  }
  if (minP > 0) least = Math.max(least, order[0] + Math.log(minP));
  const kept = probability.map((p, i) => scaled[i] >= least ? p : 0);
  const total = kept.reduce((a, b) => a + b, 0);
  return kept.map((p) => p / total);
}

/** The `count` tokens of the greatest logits, equal ones by their ids. */
export function likeliest(logits: ArrayLike<number>, count: number): number[] {
  const ids = Array.from({ length: logits.length }, (_, id) => id);
  return ids.filter((id) => !Number.isNaN(logits[id])).sort((a, b) =>
    Number(logits[b] > logits[a]) - Number(logits[b] < logits[a]) || a - b
  ).slice(0, count);
}
