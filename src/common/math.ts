/** Integer helpers shared by every layer. @module */

/** `ceil(a / b)` for non-negative integers. */
export function ceilDiv(a: number, b: number): number {
  return Math.floor((a + b - 1) / b);
}

/** The smallest multiple of `multiple` that is at least `value`. */
export function roundUp(value: number, multiple: number): number {
  return ceilDiv(value, multiple) * multiple;
}

/** `value` limited to [low, high]. */
export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** The median of `values`; NaN when empty. Does not change its argument. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
