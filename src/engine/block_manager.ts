import { ceilDiv } from "../common/math.ts";
import { OutOfMemoryError } from "../common/errors.ts";
import { LruList } from "./lru_list.ts";
import { PageTrie, ROOT } from "./page_trie.ts";
import { PAGE_TOKENS, type PageCopy, VACANT } from "./step.ts";

/** What the prefix cache holds of a sequence. */
export interface CachedPrefix {
  readonly scope: string;
  /** Whole pages that can be shared as they are. */
  readonly pages: readonly number[];
  /** A page whose first `tokens` positions continue them: shared by copying. */
  readonly tail?: { readonly page: number; readonly tokens: number };
  /** Tokens in all. */
  readonly tokens: number;
}

/** The pages of one sequence, in order of position. Changed by the block manager only. */
export interface PageTable {
  readonly scope: string;
  readonly pages: number[];
  /** Pages were given back from the middle: nothing of the table is indexed any more. */
  sealed?: boolean;
  /** Leading pages that are whole, known and in the trie, so that other sequences may share them. */
  indexed: number;
  /** Tokens that were found in the cache when the table was made. */
  readonly cachedTokens: number;
}

/**
 * Hands out KV pages of 64 tokens. A page is free, or held by sequences (counted), or cached: held by none, but its
 * content is still known and found by `match`, until the space is needed (least recently used first).
 * Whole pages are shared. A partly filled page, or a page that agrees only in part, is shared up to the exact
 * common token by copying (copy-on-write): the copy is done by the step that first uses it.
 *
 * Each act has its question: `canAllocate`/`allocate`, `canExtend`/`extend`; an act whose question answers no throws
 * `OutOfMemoryError`.
 */
export class BlockManager {
  readonly pagesTotal: number;
  readonly #references: Int32Array;
  readonly #free: number[];
  readonly #trie: PageTrie;
  /** Pages that nobody holds and the trie knows. A page always follows its descendants, so the head is a leaf. */
  readonly #cached: LruList;
  #copies: PageCopy[] = [];

  constructor(pagesTotal: number) {
    this.pagesTotal = pagesTotal;
    this.#references = new Int32Array(pagesTotal);
    this.#free = Array.from({ length: pagesTotal }, (_, i) => pagesTotal - 1 - i);
    this.#trie = new PageTrie(pagesTotal);
    this.#cached = new LruList(pagesTotal);
  }

  /** Pages that can be had now: free ones and cached ones. */
  get pagesAvailable(): number {
    return this.#free.length + this.#cached.size;
  }

  /** Pages held by sequences. */
  get pagesUsed(): number {
    return this.pagesTotal - this.pagesAvailable;
  }

  /** Pages held by the cache alone. */
  get pagesCached(): number {
    return this.#cached.size;
  }

  /**
   * The longest cached prefix of `ids`, of at most `limit` tokens. A caller that needs the logits of the last token
   * passes `ids.length - 1`, since that token must be computed whatever the cache holds.
   */
  match(ids: ArrayLike<number>, scope: string, limit: number): CachedPrefix {
    const pages: number[] = [];
    let parent = ROOT;
    for (let start = 0; start < limit; start += PAGE_TOKENS) {
      const end = Math.min(start + PAGE_TOKENS, limit);
      const found = this.#trie.find(scope, parent, ids, start, end);
      if (!found) break;
      if (found.common < PAGE_TOKENS) {
        return {
          scope,
          pages,
          tail: { page: found.page, tokens: found.common },
          tokens: start + found.common,
        };
      }
      pages.push(found.page);
      parent = found.page;
    }
    return { scope, pages, tokens: pages.length * PAGE_TOKENS };
  }

  /** Pages that `allocate(prefix, tokens)` would take out of `pagesAvailable`. */
  pagesNeeded(prefix: CachedPrefix, tokens: number): number {
    let needed = Math.max(0, ceilDiv(tokens, PAGE_TOKENS) - prefix.pages.length);
    for (const page of prefix.pages) if (this.#references[page] === 0) needed++;
    return needed;
  }

  /**
   * Counts, table after table, the pages that releasing them would make available for a table that starts with `prefix`: neither those that
   * others hold nor those of `prefix`, which it would hold in their place.
   */
  releasable(prefix: CachedPrefix): (table: PageTable) => number {
    const left = Int32Array.from(this.#references);
    for (const page of prefix.pages) left[page] = 0;
    return ({ pages }) => {
      let freed = 0;
      for (const page of pages) if (page !== VACANT && --left[page] === 0) freed++;
      return freed;
    };
  }

  /** Whether a table of `tokens` positions that starts with `prefix` fits now. */
  canAllocate(prefix: CachedPrefix, tokens: number): boolean {
    return this.pagesNeeded(prefix, tokens) <= this.pagesAvailable;
  }

  /**
   * Makes a table of `tokens` positions that starts with `prefix`. The tail is left out when holding its source
   * during the copy would take the last page.
   */
  allocate(prefix: CachedPrefix, tokens: number): PageTable {
    const needed = this.pagesNeeded(prefix, tokens);
    if (needed > this.pagesAvailable) throw this.#full(needed);
    const pages = [...prefix.pages];
    for (const page of pages) this.#hold(page);
    const source = prefix.tail;
    const pinned = source !== undefined && this.#references[source.page] === 0 ? 1 : 0;
    const fits = source !== undefined && tokens > pages.length * PAGE_TOKENS &&
      ceilDiv(tokens, PAGE_TOKENS) - pages.length + pinned <= this.pagesAvailable;
    let cachedTokens = pages.length * PAGE_TOKENS;
    if (source && fits) {
      this.#hold(source.page);
      const to = this.#take();
      pages.push(to);
      this.#copies.push({ from: source.page, to, tokens: source.tokens });
      cachedTokens += source.tokens;
    }
    const table: PageTable = {
      scope: prefix.scope,
      pages,
      indexed: prefix.pages.length,
      cachedTokens,
    };
    this.extend(table, tokens);
    return table;
  }

  /** Whether `table` can be made to cover `tokens` positions now. */
  canExtend(table: PageTable, tokens: number): boolean {
    return ceilDiv(tokens, PAGE_TOKENS) - table.pages.length <= this.pagesAvailable;
  }

  /** Appends pages until `table` covers `tokens` positions. */
  extend(table: PageTable, tokens: number): void {
    const needed = ceilDiv(tokens, PAGE_TOKENS) - table.pages.length;
    if (needed > this.pagesAvailable) throw this.#full(needed);
    for (let i = 0; i < needed; i++) table.pages.push(this.#take());
  }

  /**
   * The copies that tables made since the last call need before their first step. Their sources are held until
   * this call, so it must be made when the step is put together, and the step submitted before the next one.
   */
  takeCopies(): PageCopy[] {
    const copies = this.#copies;
    this.#copies = [];
    for (const copy of copies) this.#drop(copy.from);
    return copies;
  }

  /**
   * Tells the cache that the first `known` positions of `table` are computed by steps already submitted and hold
   * `ids`. Whole pages can be shared from now on; with `tail`, so can the partly filled last one. A page that
   * another sequence computed too is exchanged for that one's.
   */
  index(table: PageTable, ids: ArrayLike<number>, known: number, tail = false): void {
    if (table.sealed) return;
    const whole = Math.floor(known / PAGE_TOKENS);
    for (let i = table.indexed; i < whole; i++) {
      this.#indexPage(table, i, ids, PAGE_TOKENS);
      table.indexed = i + 1;
    }
    const rest = known - whole * PAGE_TOKENS;
    if (tail && rest > 0) this.#indexPage(table, whole, ids, rest);
  }

  /**
   * Takes the pages [from, to) back from the middle of `table`, whose sequence goes on without them; what they hold of `ids` can still be found
   * until the space is needed. Later pages are taken out of the trie with what continues them there, since a page in it must not outlive those before
   * it; where another sequence in use continues one of them nothing is taken, and the caller may ask again. Returns the pages taken.
   */
  vacate(table: PageTable, ids: ArrayLike<number>, from: number, to: number): number {
    const held = this.#pagesHeld(table, from, to);
    // What was taken before comes first again, so that it does not leave the cache before what is taken now.
    if (table.sealed && held > 0) this.#refill(table, ids);
    this.index(table, ids, to * PAGE_TOKENS);
    table.sealed = true;
    for (let i = table.pages.length - 1; i >= to; i--) {
      const page = table.pages[i];
      if (!this.#trie.has(page)) continue;
      if (this.#references[page] > 1 || !this.#forgetContinuations(page)) return 0;
      this.#trie.remove(page);
    }
    for (let i = to - 1; i >= from; i--) {
      const page = table.pages[i];
      if (page === VACANT) continue;
      table.pages[i] = VACANT;
      this.#drop(page);
    }
    return held;
  }

  /**
   * Gives `table` back. Its first `known` positions, which hold `ids`, stay in the cache until the space is needed;
   * the rest is free at once. So is what follows pages that were taken from its middle, unless the cache still has all of those.
   * The table must not be used again.
   */
  release(table: PageTable, ids: ArrayLike<number>, known: number): void {
    if (table.sealed) this.#refill(table, ids);
    this.index(table, ids, known);
    const start = table.indexed * PAGE_TOKENS;
    if (known > start && !table.sealed) {
      const page = table.pages[table.indexed];
      if (this.#trie.has(page)) this.#trie.remove(page);
      const parent = table.indexed > 0 ? table.pages[table.indexed - 1] : ROOT;
      const covered = this.#trie.find(table.scope, parent, ids, start, known)?.common ?? 0;
      if (covered < known - start) {
        this.#trie.insert(page, table.scope, parent, ids, start, known);
      }
    }
    // Deepest first, so that a page leaves the cache before the page it continues.
    for (const page of table.pages.toReversed()) if (page !== VACANT) this.#drop(page);
    table.pages.length = 0;
  }

  /**
   * Gives `table` back, and lets nothing be found of it or of what continues it, except for pages that others hold too. The table must not be
   * used again.
   */
  discard(table: PageTable): void {
    for (const page of table.pages.toReversed()) {
      if (page === VACANT) continue;
      const found = this.#trie.has(page) && this.#references[page] === 1;
      if (found && this.#forgetContinuations(page)) this.#trie.remove(page);
      this.#drop(page);
    }
    table.pages.length = 0;
  }

  /**
   * Checks the books against the tables in use; returns what is wrong, nothing when sound.
   * Costs O(pages): meant for idle moments and tests.
   */
  check(tables: Iterable<PageTable>): string[] {
    const problems: string[] = [];
    const expected = new Int32Array(this.pagesTotal);
    for (const table of tables) {
      const held = table.pages.filter((page) => page !== VACANT);
      if (new Set(held).size !== held.length) problems.push("a table holds a page twice");
      for (const page of held) expected[page]++;
    }
    for (const copy of this.#copies) expected[copy.from]++;
    const free = new Set(this.#free);
    if (free.size !== this.#free.length) problems.push("a page is free twice");
    for (let page = 0; page < this.pagesTotal; page++) {
      const held = this.#references[page];
      if (held !== expected[page]) {
        problems.push(`page ${page}: ${held} references, expected ${expected[page]}`);
      }
      const places = Number(held > 0) + Number(free.has(page)) + Number(this.#cached.has(page));
      if (places !== 1) problems.push(`page ${page} is in ${places} of held, free, cached`);
      if (free.has(page) && this.#trie.has(page)) problems.push(`free page ${page} is indexed`);
      if (this.#cached.has(page) && !this.#trie.has(page)) {
        problems.push(`cached page ${page} cannot be found`);
      }
    }
    const gone = new Set<number>();
    for (const page of this.#cached) {
      if (gone.has(this.#trie.parent(page))) {
        problems.push(`cached page ${page} outlives its parent`);
      }
      gone.add(page);
    }
    return problems;
  }

  #pagesHeld({ pages }: PageTable, from: number, to: number): number {
    let held = 0;
    for (let i = from; i < to; i++) if (pages[i] !== VACANT) held++;
    return held;
  }

  /** Has `table` hold the pages again that were taken from its middle, if they can all be found: what follows them may be indexed then. */
  #refill(table: PageTable, ids: ArrayLike<number>): void {
    const { scope, pages } = table;
    const found: number[] = [];
    // As far as the trie goes on with the table's own pages: what follows is indexed anew.
    for (let parent = ROOT; found.length < pages.length; found.push(parent)) {
      const start = found.length * PAGE_TOKENS;
      const match = this.#trie.find(scope, parent, ids, start, start + PAGE_TOKENS);
      const own = pages[found.length];
      if (match?.common !== PAGE_TOKENS || (own !== VACANT && own !== match.page)) break;
      parent = match.page;
    }
    if (pages.lastIndexOf(VACANT) >= found.length) return;
    found.forEach((page, i) => {
      if (pages[i] === VACANT) this.#hold(page);
      pages[i] = page;
    });
    table.indexed = found.length;
    table.sealed = false;
  }

  /** Frees the cached pages that continue `page`; false, and nothing done, when one of them is held. */
  #forgetContinuations(page: number): boolean {
    const found = [...this.#trie.children(page)];
    for (let i = 0; i < found.length; i++) {
      if (this.#references[found[i]] > 0) return false;
      found.push(...this.#trie.children(found[i]));
    }
    for (const next of found.reverse()) {
      this.#cached.remove(next);
      this.#trie.remove(next);
      this.#free.push(next);
    }
    return true;
  }

  #indexPage(table: PageTable, i: number, ids: ArrayLike<number>, tokens: number): void {
    const own = table.pages[i];
    const parent = i > 0 ? table.pages[i - 1] : ROOT;
    const start = i * PAGE_TOKENS;
    if (this.#trie.has(own)) this.#trie.remove(own);
    if (tokens === PAGE_TOKENS) {
      const found = this.#trie.find(table.scope, parent, ids, start, start + tokens);
      if (found?.common === PAGE_TOKENS) {
        this.#hold(found.page);
        table.pages[i] = found.page;
        this.#drop(own);
        return;
      }
    }
    this.#trie.insert(own, table.scope, parent, ids, start, start + tokens);
  }

  #take(): number {
    let page = this.#free.pop();
    if (page === undefined) {
      page = this.#cached.shift();
      if (page === undefined) throw this.#full(1);
      this.#trie.remove(page);
    }
    this.#references[page] = 1;
    return page;
  }

  #hold(page: number): void {
    if (this.#references[page]++ === 0) this.#cached.remove(page);
  }

  #drop(page: number): void {
    if (--this.#references[page] > 0) return;
    if (this.#trie.has(page)) this.#cached.push(page);
    else this.#free.push(page);
  }

  #full(needed: number): OutOfMemoryError {
    return new OutOfMemoryError(
      `KV pages: ${needed} needed, ${this.pagesAvailable} of ${this.pagesTotal} available`,
    );
  }
}
