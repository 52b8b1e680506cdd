import { assertEquals, assertRejects } from "@std/assert";
import { SmallestFirst } from "../../src/constraint/smallest_first.ts";

Deno.test("SmallestFirst runs one at a time, the smallest of those that wait, and leaves out what is not wanted", async () => {
  const queue = new SmallestFirst();
  const ran: number[] = [];
  let running = 0;
  const never = new AbortController().signal;
  const run = (size: number, signal = never) =>
    queue.run(size, async () => {
      assertEquals(++running, 1);
      ran.push(size);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      if (size === 7) throw new TypeError("seven");
      return size;
    }, signal);
  const gone = new AbortController();
  const unwanted = [run(1, gone.signal), run(2, AbortSignal.abort(new TypeError("left")))];
  const some = [run(5), run(3), run(9)];
  const bad = assertRejects(() => run(7), TypeError, "seven");
  gone.abort(new TypeError("left"));
  await Promise.all(unwanted.map((one) => assertRejects(() => one, TypeError, "left")));
  await some[1];
  // Comes while larger ones wait.
  const late = run(4);
  assertEquals(await Promise.all([...some, late]), [5, 3, 9, 4]);
  await bad;
  // Aborted once it has run: too late.
  await queue.idle();
  assertEquals(ran, [3, 4, 5, 7, 9]);
  assertEquals(queue.waiting, 0);
  assertEquals(await run(2), 2);
  await queue.idle();
});
