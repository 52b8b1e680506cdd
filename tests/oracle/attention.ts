/**
 * Softmax attention of one query over `keys` and `values`, in f64: Σ softmax(q · k / √d) v.
 *
 * @param query d elements
 * @param keys one array of d elements per position
 * @param values one array per position
 */
export function attentionOracle(
  query: ArrayLike<number>,
  keys: readonly ArrayLike<number>[],
  values: readonly ArrayLike<number>[],
): Float64Array {
  const scores = keys.map((key) => {
    let dot = 0;
    for (let i = 0; i < query.length; i++) dot += query[i] * key[i];
    return dot / Math.sqrt(query.length);
  });
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((a, b) => a + b, 0);
  const output = new Float64Array(values[0].length);
  values.forEach((value, t) => {
    for (let i = 0; i < output.length; i++) output[i] += weights[t] / total * value[i];
  });
  return output;
}
