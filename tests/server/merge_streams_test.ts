import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { mergeStreams } from "../../src/server/merge_streams.ts";
import { heldBytes } from "../support/held_bytes.ts";

/** A stream that says `count` numbers; `onEnd` is called when it ends or is left. */
async function* numbers(count: number, onEnd = () => {}): AsyncGenerator<number> {
  try {
    for (let i = 0; i < count; i++) yield i;
  } finally {
    onEnd();
  }
}

/** A stream that says nothing until `end` is called. */
function silent(): { stream: AsyncIterable<number>; end(error?: Error): void } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // deno-lint-ignore require-yield -- it says nothing
  async function* stream(): AsyncGenerator<number> {
    await promise;
  }
  return { stream: stream(), end: (error) => error ? reject(error) : resolve() };
}

Deno.test("mergeStreams takes from each in turn, and none waits behind one that always has more", async () => {
  const seen: [number, number][] = [];
  for await (const value of mergeStreams([numbers(3), numbers(2), numbers(0)])) seen.push(value);
  assertEquals(seen, [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]]);
});

Deno.test("mergeStreams throws what the first to fail throws, and lets go of the others", async () => {
  const { stream, end } = silent();
  let left = 0;
  const merged = mergeStreams([numbers(Infinity, () => left++), stream]);
  assertEquals((await merged.next()).value, [0, 0]);
  end(new Error("broken"));
  await assertRejects(
    async () => {
      for await (const _ of merged);
    },
    Error,
    "broken",
  );
  assertEquals(left, 1);
  for await (const _ of mergeStreams([numbers(2, () => left++), numbers(9, () => left++)])) break;
  await Promise.resolve();
  assertEquals(left, 3);
});

Deno.test("mergeStreams keeps nothing of what was said while other streams say nothing", async () => {
  const others = Array.from({ length: 100 }, silent);
  const merged = mergeStreams([numbers(10_000), ...others.map(({ stream }) => stream)]);
  for (let i = 0; i < 100; i++) await merged.next();
  const before = heldBytes();
  for (let i = 100; i < 10_000; i++) assert(!(await merged.next()).done);
  assertLess(heldBytes() - before, 1_000_000);
  for (const { end } of others) end();
  assert((await merged.next()).done);
});
