/** Y = finish(X Wᵀ) in f64, one multiplication after the other. @module */

/** What becomes of the products of one row. */
export type OracleFinish = "store" | "residual" | "relu2" | "swiglu" | "geglu";

/** 1 / √(mean(x²) + ε) over the first `width` elements. */
export function rmsScale(x: ArrayLike<number>, width: number, epsilon: number): number {
  let squares = 0;
  for (let i = 0; i < width; i++) squares += x[i] * x[i];
  return 1 / Math.sqrt(squares / width + epsilon);
}

/** x / rms(x) · gain. */
export function normalise(
  x: ArrayLike<number>,
  gain: ArrayLike<number>,
  epsilon: number,
): Float64Array {
  const scale = rmsScale(x, x.length, epsilon);
  return Float64Array.from(x, (value, i) => value * gain[i] * scale);
}

/** The product of `weights` [n][k] and one row of k elements. */
export function product(weights: ArrayLike<number>, x: ArrayLike<number>): Float64Array {
  const y = new Float64Array(weights.length / x.length);
  for (let n = 0; n < y.length; n++) {
    for (let k = 0; k < x.length; k++) y[n] += weights[n * x.length + k] * x[k];
  }
  return y;
}

/** Applies `finish` to a row of products; `before` is what the output held, and a residual grows by `scale` times the products. */
export function finishRow(
  finish: OracleFinish,
  y: Float64Array,
  before: ArrayLike<number>,
  scale = 1,
): Float64Array {
  switch (finish) {
    case "store":
      return y;
    case "residual":
      return y.map((value, n) => scale * value + before[n]);
    case "relu2":
      return y.map((value) => value > 0 ? value * value : 0);
    case "swiglu":
      // Gate and up projection in turn.
      return Float64Array.from({ length: y.length / 2 }, (_, n) => {
        const gate = y[2 * n];
        return gate / (1 + Math.exp(-gate)) * y[2 * n + 1];
      });
    case "geglu":
      return Float64Array.from({ length: y.length / 2 }, (_, n) => {
        const gate = y[2 * n];
        const inner = Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3);
        return 0.5 * gate * (1 + Math.tanh(inner)) * y[2 * n + 1];
      });
  }
}
