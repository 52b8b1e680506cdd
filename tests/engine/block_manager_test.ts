import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { OutOfMemoryError } from "../../src/common/errors.ts";
import { BlockManager, type PageTable } from "../../src/engine/block_manager.ts";
import { PAGE_TOKENS } from "../../src/engine/step.ts";

const ids = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);

/** Runs a sequence through `blocks` whole: matched, computed, indexed. */
function fill(blocks: BlockManager, tokens: number[], scope = ""): PageTable {
  const table = blocks.allocate(blocks.match(tokens, scope, tokens.length - 1), tokens.length);
  blocks.takeCopies();
  blocks.index(table, tokens, tokens.length, true);
  return table;
}

Deno.test("BlockManager shares whole pages and copies the tail up to the exact common token", () => {
  const blocks = new BlockManager(16);
  const first = fill(blocks, ids(200));
  const prompt = [...ids(150), 9999, 9998];
  const prefix = blocks.match(prompt, "", prompt.length - 1);
  assertEquals(prefix.tokens, 150);
  assertEquals(prefix.pages, first.pages.slice(0, 2));
  const second = blocks.allocate(prefix, prompt.length);
  assertEquals(blocks.takeCopies(), [{ from: first.pages[2], to: second.pages[2], tokens: 22 }]);
  assertEquals(second.cachedTokens, 150);
  assertEquals(blocks.pagesUsed, 5);
  assertEquals(blocks.check([first, second]), []);
});

Deno.test("BlockManager shares the running tail of a prompt and never its last token", () => {
  const blocks = new BlockManager(16);
  const table = fill(blocks, ids(100));
  assertEquals(blocks.match(ids(100), "", 99).tokens, 99);
  assertEquals(blocks.match(ids(128), "", 127).tokens, 100);
  blocks.release(table, ids(100), 100);
  assertEquals(blocks.match(ids(128), "", 127).tokens, 100);
});

Deno.test("BlockManager keeps scopes apart", () => {
  const blocks = new BlockManager(16);
  fill(blocks, ids(130), "a");
  assertEquals(blocks.match(ids(130), "b", 129).tokens, 0);
  assertEquals(blocks.match(ids(130), "a", 129).tokens, 129);
});

Deno.test("BlockManager gives one page to sequences that computed the same text", () => {
  const blocks = new BlockManager(16);
  const text = ids(128);
  const both = [0, 1].map(() => blocks.allocate(blocks.match(text, "", 127), 128));
  for (const table of both) blocks.index(table, text, 128);
  assertEquals(both[0].pages, both[1].pages);
  assertEquals(blocks.pagesUsed, 2);
  assertEquals(blocks.check(both), []);
});

Deno.test("BlockManager does not cache a tail that another cached page covers", () => {
  const blocks = new BlockManager(16);
  const tables = [100, 90].map((length) => ({ length, table: fill(blocks, ids(length)) }));
  for (const { length, table } of tables) blocks.release(table, ids(length), length);
  assertEquals(blocks.pagesCached, 2);
  assertEquals(blocks.match(ids(200), "", 199).tokens, 100);
});

Deno.test("BlockManager evicts the least recently used page, a page before the one it continues", () => {
  const blocks = new BlockManager(4);
  for (const from of [0, 1000]) {
    const table = fill(blocks, ids(128, from));
    blocks.release(table, ids(128, from), 128);
  }
  assertEquals(blocks.pagesCached, 4);
  const table = fill(blocks, ids(64, 5000));
  assertEquals(blocks.match(ids(129), "", 128).tokens, 64);
  assertEquals(blocks.match(ids(129, 1000), "", 128).tokens, 128);
  assertEquals(blocks.check([table]), []);
});

Deno.test("BlockManager.discard lets nothing be found of a table but what others hold", () => {
  const blocks = new BlockManager(8);
  const ids = Array.from({ length: 200 }, (_, i) => i);
  const whole = (length: number) => {
    const table = blocks.allocate(blocks.match(ids, "", length), length);
    blocks.takeCopies();
    blocks.index(table, ids, length);
    return table;
  };
  const kept = whole(64);
  const longer = whole(192);
  // Continues what is discarded, and is held by nobody.
  blocks.release(longer, ids, 192);
  const table = whole(128);
  blocks.discard(table);
  assertEquals(blocks.check([kept]), []);
  assertEquals(blocks.match(ids, "", 200).tokens, 64);
  assertEquals([blocks.pagesUsed, blocks.pagesCached], [1, 0]);
  blocks.release(kept, ids, 64);
  assertEquals(blocks.match(ids, "", 200).tokens, 64);
});

Deno.test("BlockManager.canAllocate says no, and allocate throws OutOfMemoryError, when pages run out", () => {
  const blocks = new BlockManager(2);
  const table = fill(blocks, ids(65));
  const prefix = blocks.match(ids(65, 500), "", 64);
  assertEquals(blocks.canAllocate(prefix, 65), false);
  assertThrows(() => blocks.allocate(prefix, 65), OutOfMemoryError, "2 needed, 0 of 2");
  assertEquals(blocks.canExtend(table, 128), true);
  assertEquals(blocks.canExtend(table, 129), false);
  assertThrows(() => blocks.extend(table, 129), OutOfMemoryError);
});

Deno.test("BlockManager.allocate does without the tail when its source would take the last page", () => {
  const blocks = new BlockManager(2);
  blocks.release(fill(blocks, ids(100)), ids(100), 100);
  const prompt = [...ids(90), ...ids(30, 700)];
  const table = blocks.allocate(blocks.match(prompt, "", 119), 120);
  assertEquals(table.cachedTokens, 64);
  assertEquals(blocks.takeCopies(), []);
  assertEquals(blocks.check([table]), []);
});

Deno.test("BlockManager's books stay sound, and the cache true, under random churn", () => {
  // A small alphabet and a page-sized common start make prefixes collide often.
  const operation = fc.record({
    kind: fc.constantFrom("open", "open", "grow", "vacate", "close"),
    which: fc.nat(),
    start: fc.nat(2),
    length: fc.integer({ min: 1, max: 300 }),
    turn: fc.nat(300),
    letter: fc.nat(1),
    scope: fc.constantFrom("", "x"),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const blocks = new BlockManager(12);
      const open: { table: PageTable; ids: number[] }[] = [];
      /** What each page holds, from a plain model of the writes. */
      const content = new Map<number, string>();
      const write = (table: PageTable, text: number[], from: number) => {
        for (let i = from; i < text.length; i++) {
          const page = table.pages[Math.floor(i / PAGE_TOKENS)];
          content.set(
            page * PAGE_TOKENS + i % PAGE_TOKENS,
            `${table.scope}:${text.slice(0, i + 1)}`,
          );
        }
      };
      for (const op of operations) {
        const target = open[op.which % Math.max(1, open.length)];
        if (op.kind === "open") {
          const text = Array.from(
            { length: op.length },
            (_, i) => i < op.turn ? op.start : op.letter,
          );
          const prefix = blocks.match(text, op.scope, text.length - 1);
          if (!blocks.canAllocate(prefix, text.length)) continue;
          const table = blocks.allocate(prefix, text.length);
          for (const { from, to, tokens } of blocks.takeCopies()) {
            for (let i = 0; i < tokens; i++) {
              content.set(to * PAGE_TOKENS + i, content.get(from * PAGE_TOKENS + i)!);
            }
          }
          for (let i = 0; i < table.cachedTokens; i++) {
            const page = table.pages[Math.floor(i / PAGE_TOKENS)];
            assertEquals(
              content.get(page * PAGE_TOKENS + i % PAGE_TOKENS),
              `${op.scope}:${text.slice(0, i + 1)}`,
            );
          }
          write(table, text, table.cachedTokens);
          blocks.index(table, text, text.length, true);
          open.push({ table, ids: text });
        } else if (op.kind === "grow" && target) {
          const length = target.ids.length + (op.length % 70) + 1;
          if (!blocks.canExtend(target.table, length)) continue;
          blocks.extend(target.table, length);
          const from = target.ids.length;
          while (target.ids.length < length) target.ids.push(op.letter);
          write(target.table, target.ids, from);
          blocks.index(target.table, target.ids, length);
        } else if (op.kind === "vacate" && target) {
          const last = target.table.pages.length - 1;
          blocks.vacate(target.table, target.ids, Math.min(op.start, last), last);
        } else if (op.kind === "close" && target) {
          blocks.release(target.table, target.ids, target.ids.length);
          open.splice(open.indexOf(target), 1);
        }
        assertEquals(blocks.check(open.map((entry) => entry.table)), []);
        assert(blocks.pagesUsed + blocks.pagesAvailable === 12);
      }
    }),
    { numRuns: 300 },
  );
});
