import type { WrittenPage } from "./indexed_prefix.ts";

/** What the shelf needs of a prefix. */
export interface ShelvedPrefix extends Disposable {
  readonly state: "reading" | "building" | "ready" | "failed";
  readonly pages: readonly WrittenPage[];
  readonly firstPages: number;
  readonly end: number;
  readonly goal: number;
  readonly context: { readonly bytes: number };
  readonly built: Promise<void>;
  owners: number;
  lastUse: number;
}

/** What the shelf needs to see of a step's rows. */
interface WritingRow {
  tokens: { length: number };
  position: number;
  pages: readonly number[];
}

/**
 * The prefixes in CPU memory: those in use, and those that no sequence uses but another may soon, up to a limit in bytes, least recently
 * used first to go. A prefix is found again by its pages on the GPU: a page that was not written since holds what it held.
 */
export class PrefixShelf<Prefix extends ShelvedPrefix> {
  readonly #pageTokens: number;
  readonly #idleBytes: number;
  readonly #writes = new Map<number, number>();
  readonly #prefixes = new Set<Prefix>();
  readonly #closing = new Set<Promise<void>>();
  #clock = 0;

  constructor(pageTokens: number, idleBytes: number) {
    this.#pageTokens = pageTokens;
    this.#idleBytes = idleBytes;
  }

  /** All of them. */
  get prefixes(): Iterable<Prefix> {
    return this.#prefixes;
  }

  /** Counts the pages that a step writes. To be called once for every step, before `find`. */
  write(rows: readonly WritingRow[]): void {
    for (const { tokens, position, pages } of rows) {
      const last = Math.floor((position + Math.max(1, tokens.length) - 1) / this.#pageTokens);
      for (let i = Math.floor(position / this.#pageTokens); i <= last; i++) {
        this.#writes.set(pages[i], (this.#writes.get(pages[i]) ?? 0) + 1);
      }
    }
  }

  /** A page as it is now. */
  written(page: number): WrittenPage {
    return { page, writes: this.#writes.get(page) ?? 0 };
  }

  /** Whether no page was written since it was taken. */
  holds(pages: readonly WrittenPage[]): boolean {
    return pages.every(({ page, writes }) => writes === (this.#writes.get(page) ?? 0));
  }

  /**
   * The longest prefix whose pages are all among the first `known` of `pages`, unchanged. One still being read counts when its reader
   * holds the same pages: `reading` gives them.
   */
  find(
    pages: readonly number[],
    known: number,
    reading: (prefix: Prefix) => readonly number[] | undefined,
  ): Prefix | undefined {
    let found: Prefix | undefined;
    for (const prefix of this.#prefixes) {
      const { firstPages, goal, state } = prefix;
      const end = state === "reading" ? goal : prefix.end;
      if (state === "failed" || end > known || end <= (found?.end ?? 0)) continue;
      const holder = state === "reading" ? reading(prefix) : undefined;
      const same = (i: number) => {
        const held = prefix.pages[i - firstPages];
        if (held === undefined) return holder !== undefined && holder[i] === pages[i];
        return held.page === pages[i] && held.writes === (this.#writes.get(held.page) ?? 0);
      };
      let i = firstPages;
      while (i < end && same(i)) i++;
      if (i === end) found = prefix;
    }
    return found;
  }

  /** Counts one more sequence that uses `prefix`. */
  take(prefix: Prefix): void {
    this.#prefixes.add(prefix);
    prefix.owners++;
  }

  /** Counts one less. A prefix that cannot be of use to another is freed, and so are idle ones beyond the limit. */
  give(prefix: Prefix): void {
    prefix.owners--;
    prefix.lastUse = ++this.#clock;
    for (const one of this.#prefixes) {
      if (one.owners > 0) continue;
      // One that is being built is kept, too: where answers are short, each ends before the index that the next question wants.
      const wanted = one.state === "ready" || one.state === "building";
      if (!wanted || !this.holds(one.pages)) this.#drop(one);
    }
    const idle = [...this.#prefixes].filter(({ owners }) => owners === 0);
    idle.sort((a, b) => a.lastUse - b.lastUse);
    let bytes = idle.reduce((sum, { context }) => sum + context.bytes, 0);
    for (const one of idle) {
      if (bytes <= this.#idleBytes) break;
      bytes -= one.context.bytes;
      this.#drop(one);
    }
  }

  /** Frees everything, after the layers whose indexes are being built. */
  async close(): Promise<void> {
    for (const prefix of [...this.#prefixes]) this.#drop(prefix);
    await Promise.all(this.#closing);
  }

  #drop(prefix: Prefix): void {
    this.#prefixes.delete(prefix);
    prefix[Symbol.dispose]();
    const closing = prefix.built.then(() => {
      this.#closing.delete(closing);
    });
    this.#closing.add(closing);
  }
}
