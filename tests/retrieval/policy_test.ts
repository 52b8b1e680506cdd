import { assertAlmostEquals, assertEquals } from "@std/assert";
import { budgetOf, crossoverTokens, wantsRetrieval } from "../../src/retrieval/policy.ts";

Deno.test("wantsRetrieval takes auto from the crossover on, and does what is asked otherwise", () => {
  const wants = (kind: "auto" | "dense" | "retrieval", tokens: number) =>
    wantsRetrieval({ kind }, tokens, 1000);
  assertEquals([999, 1000].map((tokens) => wants("auto", tokens)), [false, true]);
  assertEquals([1, 9999].map((tokens) => wants("dense", tokens)), [false, false]);
  assertEquals([1, 9999].map((tokens) => wants("retrieval", tokens)), [true, true]);
  assertEquals(wantsRetrieval({ kind: "auto" }, 1 << 20, crossoverTokens.discrete), false);
});

Deno.test("budgetOf keeps 99 % of the mass by default, all of it at 1, and goes by k where one is given", () => {
  for (const policy of [{ kind: "auto" }, { kind: "retrieval" }] as const) {
    const budget = budgetOf(policy);
    assertEquals(budget.kind, "error");
    if (budget.kind === "error") assertAlmostEquals(budget.share, 0.01);
  }
  assertEquals(budgetOf({ kind: "retrieval", mass: 1 }), { kind: "all" });
  assertEquals(budgetOf({ kind: "retrieval", k: 100, mass: 1 }), { kind: "keys", count: 100 });
});
