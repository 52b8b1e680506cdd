import { assertAlmostEquals } from "@std/assert";
import { blendBound } from "../../scripts/bench/video/blend_bound.ts";
import { Rng } from "../../src/common/rng.ts";

const width = 40, height = 24;
const bytes = (value: (i: number) => number) =>
  Uint8Array.from({ length: width * height }, (_, i) => value(i));

Deno.test("blendBound finds a blend that gives the target, tile by tile, also with weights below zero", () => {
  const rng = new Rng(7);
  const a = bytes(() => 2 * rng.integer(60)), b = bytes(() => 60 + 2 * rng.integer(20));
  const half = bytes((i) => (a[i] + b[i]) / 2);
  const past = bytes((i) => i % width < 16 ? half[i] : 2 * b[i] - a[i]);
  assertAlmostEquals(blendBound([a, b], half, width, height, 16), 0, 1e-3);
  assertAlmostEquals(blendBound([a, b], past, width, height, 16), 0, 1e-2);
});

Deno.test("blendBound is the error of the first frame where the frames are equal, and never more with more frames", () => {
  const rng = new Rng(8);
  const [a, b, c, target] = Array.from({ length: 4 }, () => bytes(() => rng.integer(256)));
  const plain = a.reduce((sum, v, i) => sum + (v - target[i]) ** 2, 0) / a.length;
  assertAlmostEquals(blendBound([a, a, a], target, width, height, 16), plain, 1e-9 * plain);
  const one = blendBound([a, b], target, width, height, 16);
  const two = blendBound([a, b, c], target, width, height, 16);
  if (!(two <= one && one < plain)) throw new Error(`${plain}, ${one}, ${two}`);
});
