import { assertEquals, assertThrows } from "@std/assert";
import { CapacityError } from "../../src/common/errors.ts";
import { FairTurns } from "../../src/engine/fair_turns.ts";
import { mayWait } from "../../src/engine/may_wait.ts";
import { Bench, sequence } from "../support/scheduler_bench.ts";

Deno.test("FairTurns lets scopes alternate, each in its own order", () => {
  const turns = new FairTurns();
  assertEquals([1, 2, 3, 4].map(() => turns.take("a")), [0, 1, 2, 3]);
  turns.came(0);
  turns.came(1);
  // Not before what has come, and one after the other.
  assertEquals([turns.take("b"), turns.take("b"), turns.take("a")], [1, 2, 4]);
  for (const turn of [2, 1, 2, 3, 4]) turns.came(turn);
  // What a scope did not ask for it does not get later.
  assertEquals([turns.take("c"), turns.take("a")], [4, 5]);
});

Deno.test("mayWait leaves places to scopes that have few, in bounds", () => {
  const waiting = (a: number, b: number) => [...Array(a).fill("a"), ...Array(b).fill("b")];
  assertEquals(mayWait(waiting(15, 0), "a", 16), true);
  assertEquals(mayWait(waiting(16, 0), "a", 16), false);
  assertEquals(mayWait(waiting(16, 0), "b", 16), true);
  assertEquals(mayWait(waiting(16, 3), "b", 16), true);
  // A quarter: half of an equal share.
  assertEquals(mayWait(waiting(16, 4), "b", 16), false);
  assertEquals(mayWait(waiting(16, 4), "a", 16), false);
  assertEquals(mayWait(waiting(16, 4), "c", 16), true);
  assertEquals(mayWait(["a"], "b", 1), false);
  // However many scopes there are.
  const many = Array.from({ length: 200 }, (_, i) => `s${i}`);
  assertEquals(mayWait(many, "new", 100), false);
});

Deno.test("Scheduler admits a scope's first request before another's hundredth", () => {
  const bench = new Bench({ maxSequences: 2, pagesTotal: 40 });
  const many = Array.from({ length: 20 }, (_, i) => sequence([i, 1], { scope: "a" }));
  for (const one of many) bench.add(one);
  bench.step();
  const order = () => bench.scheduler.takeAdmitted().map((one) => one.scope);
  const few = [1, 2, 3].map((i) => sequence([i, 2], { scope: "b" }));
  for (const one of few) bench.add(one);
  bench.drain();
  assertEquals(order().slice(0, 10).join(""), "aabababaaa");
});

Deno.test("Scheduler takes a scope's request though another's fill the queue", () => {
  const bench = new Bench({ maxSequences: 1, pagesTotal: 40 }, { maxWaiting: 8 });
  for (let i = 0; i < 8; i++) bench.add(sequence([i], { scope: "a" }));
  assertThrows(() => bench.add(sequence([9], { scope: "a" })), CapacityError, "at most 8");
  bench.add(sequence([9], { scope: "b" }));
  bench.add(sequence([10], { scope: "b" }));
  assertThrows(() => bench.add(sequence([11], { scope: "b" })), CapacityError, "10 requests");
  bench.drain();
});
