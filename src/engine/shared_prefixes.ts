import type { SharedTiles } from "../kernels/shared_tiles.ts";
import { PAGE_TOKENS, VACANT } from "./step.ts";

/** What is asked of a decoding row: where it is, and its page table. */
export interface DecodingRow {
  position: number;
  pages: readonly number[];
}

/** Successive rows, in the order of the plan, that attend together to the first `pages` pages of their tables. */
export interface SharedBlock {
  /** Index into the kinds of `SharedTiles`. */
  kind: number;
  first: number;
  rows: number;
  pages: number;
}

/** How the decoding rows of a step are laid out. */
export interface SharedPlan {
  /** Indexes of the rows, those of a block side by side. */
  order: number[];
  blocks: SharedBlock[];
}

/** Rows that share, as indexes, and how many pages. */
interface Segment {
  rows: number[];
  pages: number;
}

/**
 * Finds decoding rows whose page tables begin with the same pages, and puts them into blocks whose attention loads those pages once
 * (Parrot, section 7: "shared prefix"). Pages are shared by being the same pages, so equal numbers are all there is to find. Several prefixes
 * may be shared in one step, each by its own rows; of rows that share more among themselves than with others, the division into runs
 * of neighbouring tables that saves most is taken. Rows that gain nothing stay alone, in the order given.
 */
export function planShared(rows: readonly DecodingRow[], tiles: SharedTiles): SharedPlan {
  const byFirstPage = new Map<number, number[]>();
  if (tiles.rows.length > 0) {
    rows.forEach((row, index) => {
      if (usable(row, tiles) === 0) return;
      const bucket = byFirstPage.get(row.pages[0]);
      if (bucket) bucket.push(index);
      else byFirstPage.set(row.pages[0], [index]);
    });
  }
  const order: number[] = [];
  const blocks: SharedBlock[] = [];
  const placed = new Set<number>();
  for (const bucket of byFirstPage.values()) {
    if (bucket.length < 2) continue;
    for (const segment of divide(rows, bucket, tiles)) {
      let at = 0;
      for (const kind of divideRows(segment.rows.length, tiles).kinds) {
        const count = Math.min(tiles.rows[kind], segment.rows.length - at);
        blocks.push({ kind, first: order.length, rows: count, pages: segment.pages });
        for (const index of segment.rows.slice(at, at + count)) {
          order.push(index);
          placed.add(index);
        }
        at += count;
      }
    }
  }
  rows.forEach((_, index) => placed.has(index) || order.push(index));
  return { order, blocks };
}

/** Leading pages of a row that it may share: whole ones, before the page that it writes to, in multiples of what the kernel takes. */
function usable({ position, pages }: DecodingRow, tiles: SharedTiles): number {
  const whole = Math.min(Math.floor(position / PAGE_TOKENS), pages.length);
  const vacant = pages.indexOf(VACANT);
  const most = vacant >= 0 ? Math.min(vacant, whole) : whole;
  return most - most % tiles.pages;
}

/**
 * The division of rows with a common first page that saves most, of those into runs of neighbours once tables are in order: rows that have
 * most in common are neighbours then. (Now and then a set with a gap would save a little more; to find it takes exponential time.)
 */
function divide(
  rows: readonly DecodingRow[],
  bucket: readonly number[],
  tiles: SharedTiles,
): Segment[] {
  const sorted = [...bucket].sort((a, b) => compare(rows[a].pages, rows[b].pages));
  const own = sorted.map((index) => usable(rows[index], tiles));
  // Of each row, the pages that it has in common with the one before it.
  const common = sorted.map((index, i) => {
    if (i === 0) return 0;
    const most = Math.min(own[i - 1], own[i]);
    const pages = commonPages(rows[sorted[i - 1]].pages, rows[index].pages, most);
    return pages - pages % tiles.pages;
  });
  // best[j]: the most that the first j rows save; cut[j]: where their last segment begins.
  const best = [0];
  const cut = [0];
  const shared = [0];
  for (let j = 1; j <= sorted.length; j++) {
    best[j] = best[j - 1];
    cut[j] = j - 1;
    shared[j] = 0;
    let pages = Infinity;
    for (let i = j - 2; i >= 0; i--) {
      pages = Math.min(pages, common[i + 1]);
      if (pages === 0) break;
      const saved = best[i] + savedBy(j - i, pages, tiles);
      if (saved > best[j]) [best[j], cut[j], shared[j]] = [saved, i, pages];
    }
  }
  const segments: Segment[] = [];
  for (let j = sorted.length; j > 0; j = cut[j]) {
    if (shared[j] > 0) segments.push({ rows: sorted.slice(cut[j], j), pages: shared[j] });
  }
  return segments.reverse();
}

/** What `count` rows save by sharing `pages` pages, in queries times pages of the device's time; negative where they lose. */
function savedBy(count: number, pages: number, tiles: SharedTiles): number {
  const { queries, loadQueries, overhead, splits } = tiles;
  const alone = queries + loadQueries;
  const { cost, largest } = divideRows(count, tiles);
  const [spans, depth] = splits ? [pages / tiles.pages, tiles.pages] : [1, pages];
  // Work that fills the device takes its share of it; less work takes as long as its largest piece.
  const share = tiles.groups * spans / tiles.parallel;
  const each = Math.max(count * alone * share, alone);
  const together = Math.max(cost * share, largest);
  return (each - together) * depth - overhead;
}

/** The cheapest division of `count` rows into blocks: as many of the tallest as are full, then what suits the rest. */
function divideRows(
  count: number,
  { rows, queries, loadQueries }: SharedTiles,
): { kinds: number[]; cost: number; largest: number } {
  const costOf = (kind: number) => rows[kind] * queries + loadQueries;
  const kinds: number[] = new Array(Math.floor(count / rows[0])).fill(0);
  const left = count - kinds.length * rows[0];
  if (left > 0) {
    let rest: number[] = [0];
    for (let kind = 1; kind < rows.length; kind++) {
      const small = new Array(Math.ceil(left / rows[kind])).fill(kind);
      if (small.length * costOf(kind) < rest.length * costOf(rest[0])) rest = small;
    }
    kinds.push(...rest);
  }
  return {
    kinds,
    cost: kinds.reduce((sum, kind) => sum + costOf(kind), 0),
    largest: Math.max(...kinds.map(costOf)),
  };
}

function compare(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  const common = commonPages(a, b, most);
  return common < most ? a[common] - b[common] : a.length - b.length;
}

function commonPages(a: readonly number[], b: readonly number[], most: number): number {
  let pages = 0;
  while (pages < most && a[pages] === b[pages]) pages++;
  return pages;
}
