import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { StopMatcher } from "../../src/engine/stop_matcher.ts";

function run(stops: string[], pieces: string[]): { shown: string[]; stopped: boolean } {
  const matcher = new StopMatcher(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = matcher.push(piece);
    shown.push(text);
    if (stopped) return { shown, stopped };
  }
  return { shown: [...shown, matcher.flush()], stopped: false };
}

Deno.test("StopMatcher holds the beginning of a stop string back until it is decided", () => {
  assertEquals(run(["END"], ["a", "E", "N", "xE", "ND"]), {
    shown: ["a", "", "", "ENx", ""],
    stopped: true,
  });
  assertEquals(run(["END"], ["aEN"]), { shown: ["a", "EN"], stopped: false });
});

Deno.test("StopMatcher cuts before the first of several strings, wherever pieces begin", () => {
  assertEquals(run(["cd", "bc"], ["abcd"]), { shown: ["a"], stopped: true });
  assertEquals(run(["\n\n"], ["one\n", "\ntwo"]), { shown: ["one", ""], stopped: true });
});

Deno.test("StopMatcher ignores empty strings and lone surrogates", () => {
  assertEquals(run(["", "\ude00"], ["a😀b"]), { shown: ["a😀b", ""], stopped: false });
});

Deno.test("StopMatcher shows exactly the text before the earliest stop string, for any cut into pieces", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "é"), maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 3 }), fc.array(letters), (stops, pieces) => {
      const { shown, stopped } = run(stops, pieces);
      let sofar = "";
      for (const piece of pieces) {
        sofar += piece;
        const ends = stops.filter((s) => s !== "").map((s) => sofar.indexOf(s)).filter((i) =>
          i >= 0
        );
        if (ends.length === 0) continue;
        assertEquals({ shown: shown.join(""), stopped }, {
          shown: sofar.slice(0, Math.min(...ends)),
          stopped: true,
        });
        return;
      }
      assertEquals({ shown: shown.join(""), stopped }, { shown: sofar, stopped: false });
    }),
    { numRuns: 500 },
  );
});
