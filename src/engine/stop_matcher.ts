/** Text that may be shown, and whether a stop string ended it. */
export interface StopMatch {
  text: string;
  stopped: boolean;
}

/**
 * Cuts a text that arrives in pieces before the first of several strings. What could still turn out to be the
 * beginning of one is held back, so that no part of a stop string is ever shown.
 */
export class StopMatcher {
  readonly #stops: string[];
  #held = "";

  /** Empty strings are ignored, and so are strings that no text can contain (lone surrogates). */
  constructor(stops: readonly string[] = []) {
    this.#stops = stops.filter((stop) => stop !== "" && stop.isWellFormed());
  }

  /** Takes whole code points. After `stopped` nothing more may be pushed. */
  push(piece: string): StopMatch {
    const text = this.#held + piece;
    let at = -1;
    for (const stop of this.#stops) {
      const found = text.indexOf(stop);
      if (found >= 0 && (at < 0 || found < at)) at = found;
    }
    if (at >= 0) {
      this.#held = "";
      return { text: text.slice(0, at), stopped: true };
    }
    const keep = this.#possibleStart(text);
    this.#held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), stopped: false };
  }

  /** What is held back, now that the text has ended without a stop string. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  /** Length of the longest end of `text` with which a stop string begins. */
  #possibleStart(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}
