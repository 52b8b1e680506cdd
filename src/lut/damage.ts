/** Bins of each histogram: sizes up to these, and the rest. */
const bounds = [0, 1, 2, 4, 7, 12, 20];
const bins = bounds.length + 1;
const binOf = Uint8Array.from({ length: 511 }, (_, size) => {
  const bin = bounds.findIndex((bound) => size <= bound);
  return bin < 0 ? bounds.length : bin;
});
const histograms = 10;
/** Length of a frame's features. */
export const damageFeatureCount = histograms * bins;
/** Lines looked at in each direction, at least: more of them tell the same of a histogram's shape. */
const enoughLines = 90;

/** A linear classifier of compression damage; `scripts/train/lut/damage.py` trains it. */
export interface DamageModel {
  /** `[levels][80]`. */
  weight: Float32Array;
  bias: Float32Array;
}

/** Probability of each damage level, from clean (0) to the heaviest, for one frame of luma. */
export function estimateDamage(
  luma: Uint8Array,
  width: number,
  height: number,
  model: DamageModel,
): Float64Array<ArrayBuffer> {
  return levelProbabilities(damageFeatures(luma, width, height), model);
}

/** Probability of each damage level, from clean (0) to the heaviest, by a frame's features. */
export function levelProbabilities(
  features: Float64Array,
  model: DamageModel,
): Float64Array<ArrayBuffer> {
  const scores = Float64Array.from(model.bias, (bias, level) => {
    let sum = bias;
    for (let i = 0; i < features.length; i++) {
      sum += features[i] * model.weight[level * features.length + i];
    }
    return sum;
  });
  const top = scores.reduce((a, b) => Math.max(a, b));
  const likelihood = scores.map((score) => Math.exp(score - top));
  const total = likelihood.reduce((a, b) => a + b);
  return likelihood.map((value) => value / total);
}

/**
 * Square roots of ten normalised histograms: absolute first and second differences along rows, then along columns, each apart
 * where a 4-pixel block ends (codecs leave seams there), then ranges of 4x4 blocks on the codec's grid and off it.
 */
export function damageFeatures(
  luma: Uint8Array,
  width: number,
  height: number,
): Float64Array<ArrayBuffer> {
  const out = new Float64Array(damageFeatureCount);
  const along = (base: number, lines: number, lineStep: number, length: number, step: number) => {
    const skip = Math.max(1, Math.floor(lines / enoughLines));
    for (let line = 0; line < lines; line += skip) {
      const start = line * lineStep;
      for (let x = 0; x + 1 < length; x++) {
        const at = start + x * step;
        const here = luma[at], next = luma[at + step];
        out[base + ((x & 3) === 3 ? 0 : bins) + binOf[Math.abs(next - here)]]++;
        if (x === 0) continue;
        const second = Math.abs(2 * here - luma[at - step] - next);
        out[base + ((x & 3) === 0 || (x & 3) === 3 ? 2 : 3) * bins + binOf[second]]++;
      }
    }
  };
  along(0, height, width, width, 1);
  along(4 * bins, width, 1, height, width);
  for (const [index, offset] of [0, 2].entries()) {
    for (let y = offset; y + 8 <= height + offset; y += 4) {
      for (let x = offset; x + 8 <= width + offset; x += 4) {
        let low = 255, high = 0;
        for (let dy = 0; dy < 4; dy++) {
          for (let dx = 0; dx < 4; dx++) {
            const value = luma[(y + dy) * width + x + dx];
            if (value < low) low = value;
            if (value > high) high = value;
          }
        }
        out[(8 + index) * bins + binOf[high - low]]++;
      }
    }
  }
  for (let i = 0; i < histograms; i++) {
    const part = out.subarray(i * bins, (i + 1) * bins);
    const total = part.reduce((sum, n) => sum + n, 0);
    for (let k = 0; k < bins; k++) part[k] = total > 0 ? Math.sqrt(part[k] / total) : 0;
  }
  return out;
}
