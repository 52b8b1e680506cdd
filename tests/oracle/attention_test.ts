import { assertAlmostEquals, assertEquals } from "@std/assert";
import { attentionOracle } from "./attention.ts";

Deno.test("attentionOracle returns the only value", () => {
  assertEquals([...attentionOracle([9, -9], [[1000, 3]], [[4, 5]])], [4, 5]);
});

Deno.test("attentionOracle weighs values by the softmax of scaled scores", () => {
  // d = 4: scores are 2 ln 3 / 2 = ln 3 and 0, so the weights are 3/4 and 1/4.
  const query = [2, 0, 0, 0];
  const output = attentionOracle(query, [[Math.log(3), 0, 0, 0], [0, 7, 0, 0]], [[8, 0], [0, 4]]);
  assertAlmostEquals(output[0], 6, 1e-14);
  assertAlmostEquals(output[1], 1, 1e-14);
});

Deno.test("attentionOracle survives scores that overflow an exponential", () => {
  const output = attentionOracle([1], [[1000], [1000], [-1000]], [[1], [3], [50]]);
  assertEquals([...output], [2]);
});
