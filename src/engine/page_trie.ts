import { PAGE_TOKENS } from "./step.ts";

/** Parent of a page that starts a prompt. */
export const ROOT = -1;
/** Parent of a page that is not in the trie. */
const ABSENT = -2;

/** A page's best continuation: `common` leading tokens agree, in [1, PAGE_TOKENS]. */
export interface TrieMatch {
  page: number;
  common: number;
}

/**
 * Which token ids each KV page holds, as a trie of pages: a page's children continue its text, and every scope has
 * a root of its own. The children of a page are kept sorted by their ids, so the child that shares most leading
 * tokens with a query is a neighbour of the query's place: one binary search finds both whole pages and
 * exact-length tails, by comparing ids, with no hash to collide. Only whole pages have children.
 */
export class PageTrie {
  readonly #ids: Uint32Array;
  readonly #length: Uint8Array;
  readonly #parent: Int32Array;
  readonly #children: (number[] | undefined)[];
  readonly #roots = new Map<string, number[]>();
  readonly #scope: (string | undefined)[];

  constructor(pages: number) {
    this.#ids = new Uint32Array(pages * PAGE_TOKENS);
    this.#length = new Uint8Array(pages);
    this.#parent = new Int32Array(pages).fill(ABSENT);
    this.#children = new Array(pages).fill(undefined);
    this.#scope = new Array(pages).fill(undefined);
  }

  has(page: number): boolean {
    return this.#parent[page] !== ABSENT;
  }

  /** Tokens that `page` is known to hold; 0 when it is not in the trie. */
  length(page: number): number {
    return this.has(page) ? this.#length[page] : 0;
  }

  /** The page before `page`, or `ROOT`. */
  parent(page: number): number {
    return this.#parent[page];
  }

  /** The pages that continue `page`. */
  children(page: number): readonly number[] {
    return this.#children[page] ?? [];
  }

  hasChildren(page: number): boolean {
    return (this.#children[page]?.length ?? 0) > 0;
  }

  /** The child of `parent` that shares most leading tokens with `ids[start, end)`, if any shares one. */
  find(
    scope: string,
    parent: number,
    ids: ArrayLike<number>,
    start: number,
    end: number,
  ): TrieMatch | undefined {
    const siblings = this.#siblings(scope, parent);
    if (!siblings) return undefined;
    const at = this.#place(siblings, ids, start, end);
    let best: TrieMatch | undefined;
    for (const page of [siblings[at], siblings[at - 1]]) {
      if (page === undefined) continue;
      const common = this.#common(page, ids, start, end);
      if (common > (best?.common ?? 0)) best = { page, common };
    }
    return best;
  }

  /** Records that `page` holds `ids[start, end)` after `parent`, a whole page of the same scope or `ROOT`. */
  insert(
    page: number,
    scope: string,
    parent: number,
    ids: ArrayLike<number>,
    start: number,
    end: number,
  ): void {
    if (this.has(page)) throw new RangeError(`insert page ${page}: already in the trie`);
    if (end <= start || end - start > PAGE_TOKENS) {
      throw new RangeError(
        `insert page ${page}: ${end - start} tokens, expected 1..${PAGE_TOKENS}`,
      );
    }
    if (parent !== ROOT && this.length(parent) !== PAGE_TOKENS) {
      throw new RangeError(`insert page ${page}: parent ${parent} is not a whole page of the trie`);
    }
    for (let i = start; i < end; i++) this.#ids[page * PAGE_TOKENS + i - start] = ids[i];
    this.#length[page] = end - start;
    this.#parent[page] = parent;
    this.#scope[page] = scope;
    let siblings = this.#siblings(scope, parent);
    if (!siblings) {
      siblings = [];
      if (parent === ROOT) this.#roots.set(scope, siblings);
      else this.#children[parent] = siblings;
    }
    siblings.splice(this.#place(siblings, ids, start, end), 0, page);
  }

  /** Forgets `page`, which must have no children. */
  remove(page: number): void {
    if (!this.has(page)) throw new RangeError(`remove page ${page}: not in the trie`);
    if (this.hasChildren(page)) throw new RangeError(`remove page ${page}: it has children`);
    const scope = this.#scope[page]!;
    const parent = this.#parent[page];
    const siblings = this.#siblings(scope, parent)!;
    siblings.splice(siblings.indexOf(page), 1);
    if (siblings.length === 0) {
      if (parent === ROOT) this.#roots.delete(scope);
      else this.#children[parent] = undefined;
    }
    this.#parent[page] = ABSENT;
    this.#scope[page] = undefined;
    this.#length[page] = 0;
  }

  #siblings(scope: string, parent: number): number[] | undefined {
    return parent === ROOT ? this.#roots.get(scope) : this.#children[parent];
  }

  /** Index of the first sibling that does not sort before `ids[start, end)`. */
  #place(siblings: number[], ids: ArrayLike<number>, start: number, end: number): number {
    let low = 0, high = siblings.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#before(siblings[middle], ids, start, end)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #before(page: number, ids: ArrayLike<number>, start: number, end: number): boolean {
    const common = this.#common(page, ids, start, end);
    if (common === this.#length[page]) return common < end - start;
    return common < end - start && this.#ids[page * PAGE_TOKENS + common] < ids[start + common];
  }

  #common(page: number, ids: ArrayLike<number>, start: number, end: number): number {
    const length = Math.min(this.#length[page], end - start);
    const base = page * PAGE_TOKENS;
    let common = 0;
    while (common < length && this.#ids[base + common] === ids[start + common]) common++;
    return common;
  }
}
