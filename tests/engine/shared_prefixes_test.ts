import { assert, assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { type DecodingRow, planShared, type SharedPlan } from "../../src/engine/shared_prefixes.ts";
import { VACANT } from "../../src/engine/step.ts";
import type { SharedTiles } from "../../src/kernels/shared_tiles.ts";

const tiles: SharedTiles = {
  rows: [5, 2],
  pages: 1,
  splits: false,
  queries: 3,
  groups: 2,
  loadQueries: 4.4,
  parallel: 2,
  overhead: 80,
};
const split: SharedTiles = { ...tiles, rows: [4], pages: 4, splits: true };

/** A row at the last position of its pages. */
const at = (...pages: number[]): DecodingRow => ({ position: pages.length * 64 - 1, pages });
const run = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

/** Rows of a random tree of pages: each continues some node of it, and has a last page of its own. */
const arbitraryRows = (most: number): fc.Arbitrary<DecodingRow[]> =>
  fc.tuple(
    fc.array(fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 40 })), { minLength: 1, maxLength: 6 }),
    fc.array(fc.tuple(fc.nat(8), fc.integer({ min: 0, max: 3 }), fc.nat(63), fc.boolean()), {
      maxLength: most,
    }),
  ).map(([nodes, rows]) => {
    let next = 0;
    const tables: number[][] = [[]];
    for (const [parent, pages] of nodes) {
      tables.push([...tables[parent % tables.length], ...run(next, pages)]);
      next += pages;
    }
    return rows.map(([node, own, offset, hole]) => {
      const pages = [...tables[node % tables.length], ...run(next, own + 1)];
      next += own + 1;
      if (hole && pages.length > 5) pages.fill(VACANT, 2, pages.length - 2);
      return { position: (pages.length - 1) * 64 + offset, pages };
    });
  });

/** What a plan saves, and that it is one. */
function check(rows: DecodingRow[], plan: SharedPlan, kinds: SharedTiles): void {
  assertEquals([...plan.order].sort((a, b) => a - b), rows.map((_, i) => i));
  let free = 0;
  for (const { kind, first, rows: count, pages } of plan.blocks) {
    assert(first >= free, "blocks overlap");
    free = first + count;
    assert(count >= 1 && count <= kinds.rows[kind] && free <= rows.length);
    assert(pages > 0 && pages % kinds.pages === 0);
    const shared = rows[plan.order[first]].pages.slice(0, pages);
    assert(!shared.includes(VACANT));
    for (const index of plan.order.slice(first, free)) {
      assertEquals(rows[index].pages.slice(0, pages), shared);
      assert(pages * 64 <= rows[index].position, "a page that the row writes to is shared");
    }
  }
}

Deno.test("planShared only shares whole pages that rows have in common, in blocks that fit", () => {
  fc.assert(fc.property(arbitraryRows(40), fc.boolean(), (rows, splits) => {
    const kinds = splits ? split : tiles;
    check(rows, planShared(rows, kinds), kinds);
  }));
});

Deno.test("planShared finds the division into neighbours that saves most", () => {
  // All divisions of the rows, in the order of their tables, each part sharing all that it has in common, or nothing.
  const kinds = { ...tiles, rows: [3], parallel: 1, groups: 1, overhead: 10 };
  const alone = kinds.queries + kinds.loadQueries;
  const block = 3 * kinds.queries + kinds.loadQueries;
  const savedBy = (rows: DecodingRow[]): number => {
    if (rows.length < 2) return 0;
    let pages = 0;
    const usable = (row: DecodingRow) => Math.floor(row.position / 64);
    while (
      rows.every((row) =>
        pages < usable(row) && row.pages[pages] === rows[0].pages[pages] &&
        row.pages[pages] !== VACANT
      )
    ) pages++;
    if (pages === 0) return 0;
    const saved = rows.length * alone - Math.ceil(rows.length / 3) * block;
    return Math.max(0, saved * pages - kinds.overhead);
  };
  const best = (rows: DecodingRow[]): number => {
    if (rows.length === 0) return 0;
    return Math.max(
      ...rows.map((_, i) => savedBy(rows.slice(0, i + 1)) + best(rows.slice(i + 1))),
    );
  };
  const inOrder = (rows: DecodingRow[]) =>
    rows.toSorted(({ pages: a }, { pages: b }) => {
      for (let i = 0;; i++) {
        if (a[i] !== b[i] || a[i] === undefined) return (a[i] ?? -2) - (b[i] ?? -2);
      }
    });
  let shared = 0;
  fc.assert(
    fc.property(arbitraryRows(6), (rows) => {
      const { order, blocks } = planShared(rows, kinds);
      // Blocks of one segment: neighbours with equal pages, of which all but the last are full.
      let saved = 0;
      for (let i = 0; i < blocks.length;) {
        const segment = [blocks[i++]];
        while (
          i < blocks.length && segment.at(-1)!.rows === 3 &&
          blocks[i].pages === segment[0].pages &&
          rows[order[blocks[i].first]].pages[0] === rows[order[segment[0].first]].pages[0]
        ) segment.push(blocks[i++]);
        const count = segment.reduce((sum, { rows }) => sum + rows, 0);
        saved += (count * alone - segment.length * block) * segment[0].pages - kinds.overhead;
        shared++;
      }
      const most = best(inOrder(rows));
      assert(Math.abs(saved - most) < 1e-6, `saves ${saved}, expected ${most}`);
    }),
    { numRuns: 300 },
  );
  assertGreater(shared, 20);
});

Deno.test("planShared groups several prefixes in one step and leaves other rows in their order", () => {
  const [a, b] = [run(100, 30), run(200, 30)];
  const rows = [
    at(1),
    at(...a, 2),
    at(...b, 3),
    at(4),
    at(...a, 5),
    at(...b, 6),
    at(...a, 7),
    at(8),
    at(...a, 9),
  ];
  const plan = planShared(rows, tiles);
  check(rows, plan, tiles);
  assertEquals(plan.order, [1, 4, 6, 8, 2, 5, 0, 3, 7]);
  assertEquals(plan.blocks, [
    { kind: 0, first: 0, rows: 4, pages: 30 },
    { kind: 1, first: 4, rows: 2, pages: 30 },
  ]);
});

Deno.test("planShared leaves rows alone where they gain nothing", () => {
  const none = (rows: DecodingRow[], kinds = tiles) => {
    const plan = planShared(rows, kinds);
    assertEquals(plan, { order: rows.map((_, i) => i), blocks: [] });
  };
  none([]);
  none([at(1, 2, 3)]);
  // Too short a prefix for two rows.
  none([at(...run(0, 10), 50), at(...run(0, 10), 51)]);
  // The same page, still being written.
  none(Array.from({ length: 32 }, () => at(0)));
  // Kernels that share nothing.
  none([at(...run(0, 90), 95), at(...run(0, 90), 96)], { ...tiles, rows: [] });
  // Two rows on a device that runs far more at a time are done sooner side by side.
  none([at(...run(0, 90), 95), at(...run(0, 90), 96)], { ...tiles, parallel: 16 });
  // Vacant pages are nobody's.
  const vacant = (last: number) => at(1, ...new Array(60).fill(VACANT), last);
  none([vacant(7), vacant(8)]);
});

Deno.test("planShared takes multiples of what a split kernel takes", () => {
  const rows = run(0, 8).map((i) => at(...run(100, 43), 50 + i));
  const plan = planShared(rows, split);
  check(rows, plan, split);
  assertEquals(plan.blocks, [
    { kind: 0, first: 0, rows: 4, pages: 40 },
    { kind: 0, first: 4, rows: 4, pages: 40 },
  ]);
});
