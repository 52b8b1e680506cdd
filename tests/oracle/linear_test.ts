import { assertAlmostEquals, assertEquals } from "@std/assert";
import { finishRow, normalise, product, rmsScale } from "./linear.ts";

Deno.test("product is the row times each weight row", () => {
  // By hand: [1·5 + 2·6, 3·5 + 4·6, -1·5 + 0·6].
  assertEquals([...product([1, 2, 3, 4, -1, 0], [5, 6])], [17, 39, -5]);
});

Deno.test("rmsScale and normalise divide by the root mean square", () => {
  // Mean of 9 and 16 is 12.5; with epsilon 12.5 the root is 5.
  assertAlmostEquals(rmsScale([3, 4, 99], 2, 12.5), 0.2, 1e-15);
  assertEquals([...normalise([3, 4], [10, -5], 12.5)], [6, -4]);
});

Deno.test("finishRow stores, adds, squares what is positive, and gates", () => {
  const y = Float64Array.of(-2, 3, 0, 5);
  assertEquals([...finishRow("store", y, [])], [-2, 3, 0, 5]);
  assertEquals([...finishRow("residual", y, [1, 1, 1, 1])], [-1, 4, 1, 6]);
  assertEquals([...finishRow("residual", y, [1, 1, 1, 1], 0.5)], [0, 2.5, 1, 3.5]);
  assertEquals([...finishRow("relu2", y, [])], [0, 9, 0, 25]);
  const gated = finishRow("swiglu", y, []);
  // -2 · sigmoid(-2) · 3, with sigmoid(-2) = 0.1192029220221176; and 0 · 5.
  assertAlmostEquals(gated[0], -0.7152175321327054, 1e-15);
  assertEquals(gated[1], 0);
  // The tanh form of GELU at -2 is -0.0454023059; and 0 · 5.
  const gelu = finishRow("geglu", y, []);
  assertAlmostEquals(gelu[0], -0.0454023059 * 3, 1e-9);
  assertEquals(gelu[1], 0);
});
