import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { heatMap, lengthName } from "../../../scripts/eval/lm/heat_map.ts";

Deno.test("heatMap averages the cells of a band and leaves empty bands out", () => {
  const svg = heatMap("a < b", [
    { length: 1024, depth: 0.01, score: 1 },
    { length: 1024, depth: 0.1, score: 0 },
    { length: 4096, depth: 1, score: 1 },
  ]);
  assertStringIncludes(svg, "a &lt; b");
  assertEquals(svg.match(/<rect/g)?.length, 2);
  assertStringIncludes(svg, ">0.50<");
  assertStringIncludes(svg, ">1.00<");
  assert(svg.indexOf(">1k<") < svg.indexOf(">4k<"));
});

Deno.test("lengthName writes multiples of 1024 with a k", () => {
  assertEquals([1024, 131072, 1000].map(lengthName), ["1k", "128k", "1000"]);
});
