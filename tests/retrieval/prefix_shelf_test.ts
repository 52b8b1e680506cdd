import { assert, assertEquals } from "@std/assert";
import { PrefixShelf, type ShelvedPrefix } from "../../src/retrieval/prefix_shelf.ts";

/** A prefix that holds nothing. */
class Prefix implements ShelvedPrefix {
  state: ShelvedPrefix["state"] = "ready";
  owners = 0;
  lastUse = 0;
  disposed = false;
  readonly built = Promise.resolve();
  readonly context: { bytes: number };

  constructor(
    readonly firstPages: number,
    readonly goal: number,
    readonly pages: { page: number; writes: number }[],
    bytes = 1,
  ) {
    this.context = { bytes };
  }

  get end(): number {
    return this.firstPages + this.pages.length;
  }

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}

const none = () => undefined;
const row = (pages: number[], position: number, tokens: number) => ({
  pages,
  position,
  tokens: { length: tokens },
});

Deno.test("PrefixShelf finds the longest prefix of a page table, until one of its pages is written", () => {
  const shelf = new PrefixShelf<Prefix>(64, 100);
  const table = [5, 6, 7, 8, 9];
  shelf.write([row(table, 0, 320)]);
  const short = new Prefix(1, 3, [shelf.written(6), shelf.written(7)]);
  const long = new Prefix(1, 4, [6, 7, 8].map((page) => shelf.written(page)));
  shelf.take(short);
  shelf.take(long);
  assert(shelf.find(table, 5, none) === long);
  assert(shelf.find(table, 3, none) === short);
  assertEquals(shelf.find(table, 2, none), undefined);
  assertEquals(shelf.find([5, 6, 77, 8, 9], 5, none), undefined);
  // Another first page is another prompt's business: what is before the prefix is attended to elsewhere.
  // The last position of a page counts as a write of it.
  shelf.write([row([1, 2, 3, 8], 255, 0)]);
  assert(shelf.find(table, 5, none) === short);
  shelf.write([row([7], 0, 1)]);
  assertEquals(shelf.find(table, 5, none), undefined);
  long.state = "failed";
  assertEquals(shelf.find(table, 5, none), undefined);
});

Deno.test("PrefixShelf lets others join a prefix that is being read from the same pages", () => {
  const shelf = new PrefixShelf<Prefix>(64, 100);
  const table = [5, 6, 7, 8, 9];
  shelf.write([row(table, 0, 320)]);
  const prefix = new Prefix(1, 4, [shelf.written(6)]);
  prefix.state = "reading";
  shelf.take(prefix);
  assert(shelf.find([5, 6, 7, 8, 30], 4, () => table) === prefix);
  assertEquals(shelf.find([5, 6, 7, 31, 30], 4, () => table), undefined);
  assertEquals(shelf.find([5, 6, 7, 8, 30], 3, () => table), undefined);
  assertEquals(shelf.find([5, 6, 7, 8, 30], 4, none), undefined);
});

Deno.test("PrefixShelf keeps idle prefixes up to its limit, and only those that can be found again", async () => {
  const shelf = new PrefixShelf<Prefix>(64, 10);
  const make = (page: number, bytes: number) => {
    shelf.write([row([0, page], 64, 64)]);
    const prefix = new Prefix(1, 2, [shelf.written(page)], bytes);
    shelf.take(prefix);
    return prefix;
  };
  const [a, b, c, d] = [make(1, 4), make(2, 4), make(3, 4), make(4, 1)];
  for (const prefix of [a, b, c]) shelf.give(prefix);
  // The least recently used goes first.
  assertEquals([a, b, c, d].map(({ disposed }) => disposed), [true, false, false, false]);
  assert(shelf.find([0, 2], 2, none) === b);
  shelf.write([row([0, 2], 64, 64)]);
  d.state = "building";
  shelf.give(d);
  assertEquals([b, c, d].map(({ disposed }) => disposed), [true, false, false]);
  // Built or not, it is there for the next sequence until it is of no use.
  assert(shelf.find([0, 4], 2, none) === d);
  d.state = "failed";
  shelf.take(c);
  shelf.take(c);
  shelf.give(c);
  assertEquals([c, d].map(({ disposed }) => disposed), [false, true]);
  assertEquals(c.owners, 1);
  await shelf.close();
  assert(c.disposed);
});
