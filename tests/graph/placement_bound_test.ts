import { assert, assertAlmostEquals } from "@std/assert";
import fc from "fast-check";
import { leastMs, meanMs, placementBound } from "../../scripts/bench/apps/placement_bound.ts";
import { llama7bOnA6000 as cost } from "../../src/graph/sim/cost_model.ts";

const kinds = [
  { system: 7437, query: 7, output: 704 },
  { system: 1116, query: 8, output: 89 },
  { system: 2031, query: 4, output: 416 },
];

Deno.test("placementBound of one kind on one engine is the closed form", () => {
  const kind = { system: 2000, query: 10, output: 400 };
  const base = cost.overheadMs + cost.weightsMs + 2000 * cost.attentionMsPerToken;
  const perRequest = cost.attentionMsPerToken * (400 ** 2 / 2 + 400 * 10) / 1000;
  const rate = (1 - base / 100) / perRequest;
  assertAlmostEquals(placementBound([kind], 1, cost, 100), rate, 0.01);
  // Two engines share one kind evenly.
  assertAlmostEquals(placementBound([kind], 2, cost, 100), 2 * rate, 0.02);
});

Deno.test("leastMs: no shares that can be drawn are better", () => {
  const least = new Map([1, 2, 3].map((rate) => [rate, leastMs(kinds, 3, cost, rate)]));
  const share = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true }));
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 3),
      fc.array(fc.tuple(share, share, share), { minLength: 3, maxLength: 3 }),
      (rate, drawn) => {
        const shares = drawn.map((row) => {
          const sum = row.reduce((a, b) => a + b, 0);
          return sum > 0 ? row.map((x) => x / sum) : [1, 0, 0];
        });
        assert(meanMs(kinds, shares, cost, rate) >= least.get(rate)! - 0.05);
      },
    ),
    { numRuns: 3000 },
  );
});
