import { PAGE_TOKENS } from "../model/kv_cache.ts";

/** The part of a context that stays on the GPU and is always attended to in full (RetrievalAttention, section 3.1). */
export interface WindowOptions {
  /** Leading tokens, a multiple of 64. Default 128: they hold the attention sinks. */
  first: number;
  /** Latest tokens at least; up to 63 more, since memory moves in pages of 64. Default 512. */
  last: number;
}

/** The paper's window. */
export const paperWindow: Readonly<WindowOptions> = { first: 128, last: 512 };

/** What a decoding row sees of its pages. */
export interface RowWindow {
  /** Pages of the window, in order of position. */
  pages: number[];
  /** Index of the row's own token among the window's. */
  position: number;
  /** Pages left out between the leading and the latest ones. */
  skipped: number;
}

/**
 * Checks and fills in options.
 * @throws {RangeError} for sizes out of range.
 */
export function windowOptions(options: Partial<WindowOptions> = {}): WindowOptions {
  const window = { ...paperWindow, ...options };
  if (!(window.first >= 0) || window.first % PAGE_TOKENS !== 0) {
    throw new RangeError(
      `retrieval window: first is ${window.first}, expected a multiple of ${PAGE_TOKENS}`,
    );
  }
  if (!Number.isInteger(window.last) || window.last < 1) {
    throw new RangeError(
      `retrieval window: last is ${window.last}, expected an integer of at least 1`,
    );
  }
  return window;
}

/** The page after the last one outside the window of a context of `tokens`; the first such page is `first / 64`. */
export function coldEnd(tokens: number, { first, last }: WindowOptions): number {
  return Math.max(first / PAGE_TOKENS, Math.floor((tokens - last) / PAGE_TOKENS));
}

/** The window of the token at `position` when the pages from `firstPages` up to `end` are elsewhere. */
export function rowWindow(
  pages: readonly number[],
  position: number,
  firstPages: number,
  end: number,
): RowWindow {
  const skipped = end - firstPages;
  const last = Math.floor(position / PAGE_TOKENS);
  return {
    pages: [...pages.slice(0, firstPages), ...pages.slice(end, last + 1)],
    position: position - skipped * PAGE_TOKENS,
    skipped,
  };
}
