/** Tokens of a page, as in the real engine. */
export const SIM_PAGE_TOKENS = 64;

/** A page of keys and values that holds a known prefix. */
export interface SimPage {
  readonly key: string;
  references: number;
  /** Last step in which it was counted as read. */
  stamp: number;
}

/** Keys of the full pages of a prompt: each stands for all tokens up to its end. */
export function pageKeys(
  ids: readonly number[],
  scope: string,
  pageTokens: number = SIM_PAGE_TOKENS,
): string[] {
  const keys: string[] = [];
  let a = 0x9e3779b9;
  let b = 0x85ebca6b;
  for (let i = 0; i < scope.length; i++) a = Math.imul(a ^ scope.charCodeAt(i), 0x9e3779b1);
  for (let i = 0; i < ids.length; i++) {
    a = Math.imul(a ^ ids[i], 0x9e3779b1);
    b = Math.imul(b ^ ids[i], 0x5f356495) ^ (a >>> 15);
    if ((i + 1) % pageTokens === 0) keys.push(`${i}:${a >>> 0}:${b >>> 0}`);
  }
  return keys;
}

/** Page memory of a simulated engine: shared pages by reference count, unused ones kept until their room is needed. */
export class SimPages {
  readonly total: number;
  readonly #pages = new Map<string, SimPage>();
  /** Pages without a reader, in order of last use. */
  readonly #idle = new Map<string, SimPage>();
  #private = 0;

  constructor(total: number) {
    this.total = total;
  }

  /** Pages that readers hold. */
  get used(): number {
    return this.#private + this.#pages.size - this.#idle.size;
  }

  /** Pages kept for nobody yet. */
  get cached(): number {
    return this.#idle.size;
  }

  /** How many of the leading `keys` are there. */
  match(keys: readonly string[]): number {
    let count = 0;
    while (count < keys.length && this.#pages.has(keys[count])) count++;
    return count;
  }

  /** Whether a sequence that shares the first `shared` of `keys` and needs `own` pages beside them fits. */
  fits(keys: readonly string[], shared: number, own: number): boolean {
    let revived = 0;
    for (let i = 0; i < shared; i++) if (this.#idle.has(keys[i])) revived++;
    return this.used + revived + own <= this.total;
  }

  /** Takes references to the first `shared` of `keys`, and `own` private pages. */
  take(keys: readonly string[], shared: number, own: number): SimPage[] {
    const pages: SimPage[] = [];
    for (let i = 0; i < shared; i++) {
      const page = this.#pages.get(keys[i])!;
      page.references++;
      this.#idle.delete(page.key);
      pages.push(page);
    }
    this.#private += own;
    this.#evict();
    return pages;
  }

  /** Turns one private page into the page of `key`; undefined when another sequence made it first. */
  publish(key: string): SimPage | undefined {
    if (this.#pages.has(key)) return undefined;
    const page: SimPage = { key, references: 1, stamp: -1 };
    this.#pages.set(key, page);
    this.#private--;
    return page;
  }

  /** Gives back references and private pages. */
  release(pages: readonly SimPage[], own: number): void {
    this.#private -= own;
    // Deepest first, so that the root of a prefix is the last to go.
    for (let i = pages.length - 1; i >= 0; i--) {
      const page = pages[i];
      if (--page.references === 0) this.#idle.set(page.key, page);
    }
    this.#evict();
  }

  /** Drops pages that nobody reads. */
  clear(): void {
    for (const key of this.#idle.keys()) this.#pages.delete(key);
    this.#idle.clear();
  }

  #evict(): void {
    for (const key of this.#idle.keys()) {
      if (this.used + this.#idle.size <= this.total) return;
      this.#idle.delete(key);
      this.#pages.delete(key);
    }
  }
}
