import { assertEquals } from "@std/assert";
import { scoreAnswer } from "../../../scripts/eval/lm/score_answer.ts";

Deno.test("scoreAnswer gives the share of values that the answer holds", () => {
  assertEquals(scoreAnswer("They are: oak, elm.", ["oak", "elm"]), 1);
  assertEquals(scoreAnswer("They are: oak.", ["oak", "elm", "ash", "yew"]), 0.25);
  assertEquals(scoreAnswer("", ["oak"]), 0);
});

Deno.test("scoreAnswer counts whole values only", () => {
  assertEquals(scoreAnswer("It is 412345.", ["12345"]), 0);
  assertEquals(scoreAnswer("It is old-stone.", ["stone"]), 0);
  assertEquals(scoreAnswer("It is stones.", ["stone"]), 0);
  assertEquals(scoreAnswer('"a1": "b2-c3"', ["b2-c3"]), 1);
});
