import { assertEquals, assertRejects } from "@std/assert";
import { CapacityError } from "../../src/common/errors.ts";
import { FewAtATime } from "../../src/common/few_at_a_time.ts";

Deno.test("FewAtATime runs so many at once, the others in order, and refuses more than may wait", async () => {
  const few = new FewAtATime(2, 2);
  const begun: number[] = [];
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<number>());
  const run = (i: number, signal?: AbortSignal) =>
    few.run("tasks", () => (begun.push(i), gates[i].promise), { signal });
  const leave = new AbortController();
  const results = [run(0), run(1), run(2, leave.signal), run(3)];
  await assertRejects(() => run(4), CapacityError, "2 tasks wait already");
  assertEquals(begun, [0, 1]);
  leave.abort(new DOMException("gone", "AbortError"));
  // Its place is another's at once.
  await assertRejects(() => results[2], DOMException, "gone");
  const last = run(4);
  gates[1].reject(new Error("failed"));
  await assertRejects(() => results[1], Error, "failed");
  assertEquals(begun, [0, 1, 3]);
  gates[0].resolve(10);
  gates[3].resolve(13);
  gates[4].resolve(14);
  assertEquals([await results[0], await results[3], await last], [10, 13, 14]);
  assertEquals(begun, [0, 1, 3, 4]);
});

Deno.test("FewAtATime gives a free place to the tenant that has fewest, and takes turns among equals", async () => {
  const few = new FewAtATime(2, Infinity);
  const begun: string[] = [];
  const gates = new Map<string, () => void>();
  const run = (name: string) =>
    few.run("tasks", () => {
      begun.push(name);
      const { promise, resolve } = Promise.withResolvers<void>();
      gates.set(name, resolve);
      return promise;
    }, { tenant: name[0] });
  const runs = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"].map(run);
  for (let i = 0; i < runs.length; i++) {
    gates.get(begun[i])!();
    await runs[["a1", "a2", "a3", "a4", "b1", "b2", "c1"].indexOf(begun[i])];
    await new Promise((done) => setTimeout(done));
  }
  // Of two places one had fallen to b while a held the other; then c's turn comes before a's next.
  assertEquals(begun, ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]);
});
