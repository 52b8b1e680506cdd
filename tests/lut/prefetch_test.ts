import { assert, assertEquals, assertRejects } from "@std/assert";
import { prefetch } from "../../src/lut/prefetch.ts";
import { heldBytes } from "../support/held_bytes.ts";

Deno.test("prefetch lets go of what was taken: a stream of any length holds its queue and no more", async () => {
  const made: WeakRef<Uint8Array>[] = [];
  async function* source() {
    for (let i = 0; i < 300; i++) {
      const item = new Uint8Array(1000);
      made.push(new WeakRef(item));
      yield await Promise.resolve(item);
    }
  }
  const items = prefetch(source(), 3, new AbortController().signal);
  for (let i = 0; i < 200; i++) await items.next();
  // A reference that was read lives to the end of its turn.
  await new Promise((resolve) => setTimeout(resolve, 0));
  heldBytes();
  const alive = made.filter((item) => item.deref() !== undefined).length;
  assert(alive <= 6, `${alive} of 200 items taken are still held`);
  await items.return(undefined);
});

Deno.test("prefetch ends with the signal's reason, while it waits or before", async () => {
  const stuck: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
  };
  const controller = new AbortController();
  const wait = prefetch(stuck, 2, controller.signal).next();
  controller.abort(new Error("enough"));
  await assertRejects(() => wait, Error, "enough");
  await assertRejects(() => prefetch(stuck, 2, controller.signal).next(), Error, "enough");
});

Deno.test("prefetch gives items in order and then the source's failure", async () => {
  async function* source() {
    yield await Promise.resolve(1);
    yield 2;
    throw new Error("broken");
  }
  const seen: number[] = [];
  await assertRejects(
    async () => {
      for await (const item of prefetch(source(), 4)) seen.push(item);
    },
    Error,
    "broken",
  );
  assertEquals(seen, [1, 2]);
});
