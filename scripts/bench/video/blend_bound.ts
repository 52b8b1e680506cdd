/** How much any blend of the enlarged frames could gain. @module */

/** Least squares' pull towards the first frame, per pixel: keeps weights finite where frames are equal. */
const pull = 1e-3;

/**
 * Squared error a pixel of the best blend of `frames` there is for each tile of `size` x `size` pixels, its weights fitted to `target` itself: what
 * blending could reach that knew the original. Weights sum to one and may be negative. All frames are `width * height`.
 */
export function blendBound(
  frames: readonly Uint8Array[],
  target: Uint8Array,
  width: number,
  height: number,
  size: number,
): number {
  let sum = 0;
  for (let y = 0; y < height; y += size) {
    for (let x = 0; x < width; x += size) {
      sum += tileError(frames, target, width, {
        x,
        y,
        right: Math.min(x + size, width),
        bottom: Math.min(y + size, height),
      });
    }
  }
  return sum / (width * height);
}

/** Sum of squared errors of one tile's best blend. */
function tileError(
  [first, ...rest]: readonly Uint8Array[],
  target: Uint8Array,
  width: number,
  tile: { x: number; y: number; right: number; bottom: number },
): number {
  const n = rest.length;
  // Normal equations of `target - first` over the differences to `first`, the right side as the last column.
  const matrix = Array.from({ length: n }, () => new Float64Array(n + 1));
  const row = new Float64Array(n);
  let energy = 0, pixels = 0;
  for (let y = tile.y; y < tile.bottom; y++) {
    for (let x = tile.x; x < tile.right; x++) {
      const at = y * width + x;
      const wanted = target[at] - first[at];
      rest.forEach((frame, k) => row[k] = frame[at] - first[at]);
      energy += wanted * wanted;
      pixels++;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) matrix[i][j] += row[i] * row[j];
        matrix[i][n] += row[i] * wanted;
      }
    }
  }
  const right = matrix.map((line) => line[n]);
  const plain = matrix.map((line) => line.slice(0, n));
  matrix.forEach((line, i) => line[i] += pull * pixels);
  const weights = solve(matrix);
  // |wanted - row . weights|² from the sums alone.
  let error = energy;
  for (let i = 0; i < n; i++) {
    error -= 2 * weights[i] * right[i];
    for (let j = 0; j < n; j++) error += weights[i] * plain[i][j] * weights[j];
  }
  return Math.max(0, error);
}

/** Solves the symmetric positive system in place; the last column is the right side. */
function solve(matrix: Float64Array[]): number[] {
  const n = matrix.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const factor = matrix[j][i] / matrix[i][i];
      for (let k = i; k <= n; k++) matrix[j][k] -= factor * matrix[i][k];
    }
  }
  const found = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let value = matrix[i][n];
    for (let k = i + 1; k < n; k++) value -= matrix[i][k] * found[k];
    found[i] = value / matrix[i][i];
  }
  return found;
}
