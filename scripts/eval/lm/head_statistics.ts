import { attentionWeights, type FloatModel, type LayerView } from "./float_model.ts";

/** What is said of one query head. */
export interface HeadStatistics {
  head: number;
  /** Mean Mahalanobis distance of its queries from the keys' distribution, over that of the keys themselves. */
  gap: number;
  /** Attention held by the strongest tenth of the keys, mean over the queries of the text's second half. */
  topMass: number;
}

/** Most queries looked at per head; they are spread evenly. */
const MOST_QUERIES = 256;

/**
 * Per query head: how far queries are out of the keys' distribution (RetrievalAttention, Liu et al. 2024, §3.2) and how
 * concentrated attention is.
 */
export function headStatistics(
  model: Pick<FloatModel, "heads" | "kvHeads" | "headDim">,
  view: LayerView,
  tokens: number,
): HeadStatistics[] {
  const { heads, kvHeads, headDim } = model;
  const vector = (rows: Float32Array, count: number, token: number, head: number) =>
    rows.subarray((token * count + head) * headDim, (token * count + head + 1) * headDim);
  const distances = Array.from({ length: kvHeads }, (_, kv) => {
    const keys = Array.from({ length: tokens }, (_, t) => vector(view.keys, kvHeads, t, kv));
    const distance = mahalanobis(keys, headDim);
    return { distance, own: mean(keys.map(distance)) };
  });
  const weights = new Float32Array(tokens);
  return Array.from({ length: heads }, (_, head) => {
    const { distance, own } = distances[Math.floor(head * kvHeads / heads)];
    const stride = Math.max(1, Math.floor(tokens / 2 / MOST_QUERIES));
    const gaps: number[] = [];
    const masses: number[] = [];
    for (let row = Math.floor(tokens / 2); row < tokens; row += stride) {
      gaps.push(distance(vector(view.queries, heads, row, head)));
      attentionWeights(model, view.queries, view.keys, head, row, weights);
      const sorted = weights.slice(0, row + 1).sort();
      let mass = 0;
      for (let i = sorted.length - Math.ceil(sorted.length / 10); i < sorted.length; i++) {
        mass += sorted[i];
      }
      masses.push(mass);
    }
    return { head, gap: mean(gaps) / own, topMass: mean(masses) };
  });
}

/**
 * √((x − μ)ᵀ Σ⁻¹ (x − μ)) under the mean and covariance of `sample`. A thousandth of the mean variance is added to the
 * diagonal: rotated pairs of slow frequency hardly vary within a short text.
 */
function mahalanobis(
  sample: readonly Float32Array[],
  dim: number,
): (x: Float32Array) => number {
  const centre = new Float64Array(dim);
  for (const row of sample) row.forEach((value, i) => centre[i] += value / sample.length);
  const covariance = Array.from({ length: dim }, () => new Float64Array(dim));
  for (const row of sample) {
    for (let i = 0; i < dim; i++) {
      for (let j = 0; j <= i; j++) {
        covariance[i][j] += (row[i] - centre[i]) * (row[j] - centre[j]) / sample.length;
      }
    }
  }
  const ridge = covariance.reduce((sum, row, i) => sum + row[i], 0) / dim / 1000;
  // Cholesky, in place in the lower triangle.
  for (let i = 0; i < dim; i++) {
    covariance[i][i] += ridge;
    for (let j = 0; j <= i; j++) {
      let sum = covariance[i][j];
      for (let k = 0; k < j; k++) sum -= covariance[i][k] * covariance[j][k];
      covariance[i][j] = i === j ? Math.sqrt(sum) : sum / covariance[j][j];
    }
  }
  return (x) => {
    const solved = new Float64Array(dim);
    let squares = 0;
    for (let i = 0; i < dim; i++) {
      let sum = x[i] - centre[i];
      for (let j = 0; j < i; j++) sum -= covariance[i][j] * solved[j];
      solved[i] = sum / covariance[i][i];
      squares += solved[i] ** 2;
    }
    return Math.sqrt(squares);
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
