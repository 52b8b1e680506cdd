import { assertAlmostEquals, assertEquals } from "@std/assert";
import { SearchPace } from "../../src/retrieval/search_pace.ts";

Deno.test("SearchPace expects the faster of a layer's last two searches, by keys, and never much", () => {
  const pace = new SearchPace();
  assertEquals(pace.expected(3, 1000), 0);
  pace.add(3, 1000, 2);
  assertEquals(pace.expected(3, 1000), 0, "one search may have been an exception");
  pace.add(3, 1000, 1);
  assertAlmostEquals(pace.expected(3, 1000), 1);
  assertAlmostEquals(pace.expected(3, 500), 0.5);
  assertEquals(pace.expected(2, 1000), 0);
  // A hiccup counts as little as a search that was too fast.
  pace.add(3, 1000, 200);
  assertAlmostEquals(pace.expected(3, 1000), 1);
  pace.add(3, 1000, 200);
  assertEquals(pace.expected(3, 1000), 5);
  pace.clear();
  assertEquals(pace.expected(3, 1000), 0);
});
