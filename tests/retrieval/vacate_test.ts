import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BlockManager, type PageTable } from "../../src/engine/block_manager.ts";
import { PAGE_TOKENS, VACANT } from "../../src/engine/step.ts";

const ids = (n: number, seed = 0) => Array.from({ length: n }, (_, i) => i * 31 + seed);

/** A sequence that was matched, computed and indexed. */
function fill(blocks: BlockManager, tokens: number[]): PageTable {
  const table = blocks.allocate(blocks.match(tokens, "", tokens.length - 1), tokens.length);
  blocks.takeCopies();
  blocks.index(table, tokens, tokens.length, true);
  return table;
}

Deno.test("BlockManager.vacate frees the middle, which stays findable until the space is needed", () => {
  const blocks = new BlockManager(20);
  const text = ids(10 * PAGE_TOKENS);
  const table = fill(blocks, text);
  assertEquals(blocks.vacate(table, text, 2, 8), 6);
  assertEquals(
    table.pages.map((page) => page === VACANT),
    [0, 0, 1, 1, 1, 1, 1, 1, 0, 0].map(Boolean),
  );
  assertEquals([blocks.pagesUsed, blocks.pagesCached], [4, 6]);
  assertEquals(blocks.check([table]), []);
  assertEquals(blocks.match(text, "", text.length - 1).tokens, 8 * PAGE_TOKENS);
  // Asked again for more, it takes what is new.
  blocks.extend(table, 11 * PAGE_TOKENS);
  assertEquals(blocks.vacate(table, text, 2, 9), 1);
  assertEquals(blocks.check([table]), []);
  // All of the space can be had, and the sequence may still leave.
  const other = blocks.allocate(blocks.match([1], "", 0), 16 * PAGE_TOKENS);
  assertEquals(blocks.pagesAvailable, 0);
  assertEquals(blocks.check([table, other]), []);
  blocks.release(table, text, text.length);
  assertEquals(blocks.pagesUsed, 16);
  assertEquals(blocks.check([other]), []);
});

Deno.test("BlockManager finds all of a text again whose middle was taken and is cached still when its sequence leaves", () => {
  const blocks = new BlockManager(20);
  const text = ids(10 * PAGE_TOKENS + 30);
  const table = fill(blocks, text);
  assertEquals(blocks.vacate(table, text, 2, 8), 6);
  // What the sequence goes on with is not findable before.
  text.push(...ids(70, 7));
  blocks.extend(table, text.length);
  blocks.index(table, text, text.length);
  assertEquals(blocks.match(text, "", text.length).tokens, 8 * PAGE_TOKENS);
  blocks.release(table, text, text.length);
  assertEquals([blocks.pagesUsed, blocks.pagesCached], [0, 12]);
  assertEquals(blocks.check([]), []);
  assertEquals(blocks.match(text, "", text.length).tokens, text.length);
  // From the end, page by page, the space can be had.
  for (let pages = 9; pages <= 20; pages++) {
    const other = blocks.allocate(blocks.match([1], "", 0), pages * PAGE_TOKENS);
    assertEquals(blocks.check([other]), []);
    const left = Math.min(12, 20 - pages);
    const found = blocks.match(text, "", text.length).tokens;
    assertEquals(found, left === 12 ? text.length : left * PAGE_TOKENS);
    blocks.release(other, [1], 0);
  }
});

Deno.test("BlockManager.vacate takes nothing while another sequence goes on from a later page", () => {
  const blocks = new BlockManager(40);
  const text = ids(10 * PAGE_TOKENS);
  const table = fill(blocks, text);
  const branch = fill(blocks, [...text, ...ids(3 * PAGE_TOKENS, 7)]);
  assertEquals(blocks.vacate(table, text, 2, 8), 0);
  assertEquals(blocks.check([table, branch]), []);
  blocks.release(branch, [...text, ...ids(3 * PAGE_TOKENS, 7)], 13 * PAGE_TOKENS);
  assertEquals(blocks.check([table]), []);
  // What the other left behind is forgotten.
  assertEquals(blocks.pagesCached, 3);
  assertEquals(blocks.vacate(table, text, 2, 8), 6);
  assertEquals(blocks.check([table]), []);
  assertEquals([blocks.pagesUsed, blocks.pagesCached], [4, 6]);
});

Deno.test("BlockManager.vacate takes nothing while another sequence holds a later page, and that one can go on", () => {
  const blocks = new BlockManager(40);
  const text = ids(10 * PAGE_TOKENS);
  const table = fill(blocks, [...text, ...ids(PAGE_TOKENS, 5)]);
  // Both hold the pages of `text`; the second has not computed its own yet.
  const own = [...text, ...ids(3 * PAGE_TOKENS, 7)];
  const other = blocks.allocate(blocks.match(own, "", own.length - 1), own.length);
  assertEquals(other.cachedTokens, 10 * PAGE_TOKENS);
  assertEquals(blocks.vacate(table, text, 2, 8), 0);
  blocks.index(other, own, own.length, true);
  assertEquals(blocks.check([table, other]), []);
  blocks.release(other, own, own.length);
  assertEquals(blocks.vacate(table, text, 2, 8), 6);
  assertEquals(blocks.check([table]), []);
});

Deno.test("BlockManager.vacate keeps the books sound whatever else goes on", () => {
  const act = fc.record({
    what: fc.constantFrom("start", "begin", "grow", "vacate", "leave"),
    which: fc.nat(7),
    length: fc.integer({ min: 1, max: 12 * PAGE_TOKENS }),
    shared: fc.integer({ min: 0, max: 12 * PAGE_TOKENS }),
  });
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const blocks = new BlockManager(40);
      let live: { table: PageTable; ids: number[] }[] = [];
      acts.forEach(({ what, which, length, shared }, seed) => {
        const one = live[which % Math.max(1, live.length)];
        // One that has begun is computed when it grows, after what others do meanwhile.
        if (what === "start" || what === "begin") {
          const text = [...ids(Math.min(shared, length)), ...ids(length, seed + 1)].slice(
            0,
            length,
          );
          const prefix = blocks.match(text, "", length - 1);
          if (!blocks.canAllocate(prefix, length)) return;
          const table = blocks.allocate(prefix, length);
          blocks.takeCopies();
          if (what === "start") blocks.index(table, text, length, true);
          live.push({ table, ids: text });
        } else if (one && what === "grow") {
          if (!blocks.canExtend(one.table, one.ids.length + length)) return;
          one.ids.push(...ids(length, seed + 1));
          blocks.extend(one.table, one.ids.length);
          blocks.index(one.table, one.ids, one.ids.length);
        } else if (one && what === "vacate") {
          const pages = one.table.pages.length;
          const from = Math.min(2, pages);
          blocks.vacate(one.table, one.ids, from, Math.max(from, pages - 2));
        } else if (one && what === "leave") {
          blocks.release(one.table, one.ids, one.ids.length);
          live = live.filter((other) => other !== one);
        }
        assertEquals(blocks.check(live.map(({ table }) => table)), []);
      });
      for (const { table, ids } of live) blocks.release(table, ids, ids.length);
      assertEquals(blocks.check([]), []);
      assert(blocks.pagesAvailable === 40);
      // Whatever is cached can be evicted.
      blocks.allocate(blocks.match([0], "", 0), 40 * PAGE_TOKENS);
    }),
    { numRuns: 300 },
  );
});
