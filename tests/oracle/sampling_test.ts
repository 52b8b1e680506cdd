import { assertAlmostEquals, assertEquals } from "@std/assert";
import { logSoftmax, samplingOracle } from "./sampling.ts";

const free = { temperature: 1, topK: 0, topP: 1, minP: 0 };
/** Probabilities 0.4, 0.1, 0.3, 0.2. */
const logits = [4, 1, 3, 2].map(Math.log);

function assertProbabilities(found: Float64Array, expected: number[]): void {
  expected.forEach((p, i) => assertAlmostEquals(found[i], p, 1e-12));
}

Deno.test("logSoftmax gives logarithms of probabilities", () => {
  assertProbabilities(logSoftmax(logits).map(Math.exp), [0.4, 0.1, 0.3, 0.2]);
  assertEquals([...logSoftmax([1000, -Infinity])], [0, -Infinity]);
});

Deno.test("samplingOracle applies temperature, top-k, top-p and min-p", () => {
  assertProbabilities(samplingOracle(logits, free), [0.4, 0.1, 0.3, 0.2]);
  // At temperature 1/2 probabilities are squared: 16, 1, 9, 4 of 30.
  const cold = { ...free, temperature: 0.5 };
  assertProbabilities(samplingOracle(logits, cold), [16 / 30, 1 / 30, 9 / 30, 4 / 30]);
  assertProbabilities(samplingOracle(logits, { ...free, topK: 2 }), [4 / 7, 0, 3 / 7, 0]);
  assertProbabilities(samplingOracle(logits, { ...free, topP: 0.75 }), [4 / 9, 0, 3 / 9, 2 / 9]);
  assertProbabilities(samplingOracle(logits, { ...free, topP: 0 }), [1, 0, 0, 0]);
  // Top-p counts the mass that top-k left: 0.5 of 0.7 needs one token only.
  assertProbabilities(samplingOracle(logits, { ...free, topK: 2, topP: 0.5 }), [1, 0, 0, 0]);
  // Half of 0.4 is 0.2: a token exactly there stays, within rounding.
  assertProbabilities(samplingOracle(logits, { ...free, minP: 0.49 }), [4 / 9, 0, 3 / 9, 2 / 9]);
  assertProbabilities(samplingOracle([1, 0, 0, 0, -9], { ...free, topK: 2 }).map((p) => +(p > 0)), [
    1,
    1,
    1,
    1,
    0,
  ]);
});
