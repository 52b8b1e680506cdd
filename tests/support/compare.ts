import { AssertionError } from "@std/assert";

/** How far `actual` is from `expected`. */
export interface Difference {
  /** ‖actual − expected‖ / ‖expected‖. */
  relativeL2: number;
  /** Largest absolute difference and where it is. */
  worst: number;
  worstIndex: number;
}

/**
 * Compares arrays of equal length.
 * @throws {AssertionError} for a length mismatch, or a NaN or infinity that `expected` does not have at that place.
 */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  if (actual.length !== expected.length) {
    throw new AssertionError(`compare: ${actual.length} values, expected ${expected.length}`);
  }
  let squares = 0;
  let norm = 0;
  let worst = 0;
  let worstIndex = 0;
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(actual[i]) || !Number.isFinite(expected[i])) {
      if (Object.is(actual[i], expected[i])) continue;
      throw new AssertionError(`compare: value ${i} is ${actual[i]}, expected ${expected[i]}`);
    }
    const d = actual[i] - expected[i];
    squares += d * d;
    norm += expected[i] * expected[i];
    if (Math.abs(d) > worst) [worst, worstIndex] = [Math.abs(d), i];
  }
  return { relativeL2: Math.sqrt(squares / Math.max(norm, 1e-300)), worst, worstIndex };
}

/** Fails unless `actual` is within `relativeL2` of `expected`, and everywhere finite where `expected` is. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relativeL2: number,
  what = "values",
): void {
  const found = difference(actual, expected);
  if (!(found.relativeL2 <= relativeL2)) {
    throw new AssertionError(
      `${what}: relative L2 difference is ${
        found.relativeL2.toExponential(2)
      }, expected at most ${relativeL2}; ` +
        `worst at ${found.worstIndex}: ${actual[found.worstIndex]} against ${
          expected[found.worstIndex]
        }`,
    );
  }
}

/** Fails unless `actual` is `expected` to the last bit. */
export function assertSameBits(
  actual: Float32Array,
  expected: Float32Array,
  what = "values",
): void {
  const { worst, worstIndex } = difference(actual, expected);
  const differing = expected.filter((value, i) => !Object.is(value, actual[i])).length;
  if (differing > 0) {
    throw new AssertionError(
      `${what}: ${differing} of ${expected.length} values differ, worst by ${worst} at ${worstIndex}: ` +
        `${actual[worstIndex]} against ${expected[worstIndex]}`,
    );
  }
}
