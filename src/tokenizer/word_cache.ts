const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

// V8 makes slices of 13 characters or more share their parent's memory.
const sharedSliceLength = 13;

/**
 * Remembers the tokens of recent words, at most two generations of `capacity` words: when the young one is full it
 * becomes the old one, so a word in use survives and a word seen once does not stay.
 */
export class WordCache {
  readonly #capacity: number;
  readonly #longestWord: number;
  #young = new Map<string, readonly number[]>();
  #old = new Map<string, readonly number[]>();

  /** Words longer than `longestWord` UTF-16 units are not kept. */
  constructor(capacity = 32768, longestWord = 48) {
    this.#capacity = capacity;
    this.#longestWord = longestWord;
  }

  get(word: string): readonly number[] | undefined {
    const ids = this.#young.get(word);
    if (ids) return ids;
    const older = this.#old.get(word);
    if (older) this.#insert(word, older);
    return older;
  }

  set(word: string, ids: readonly number[]): void {
    if (word.length <= this.#longestWord) this.#insert(word, ids);
  }

  #insert(word: string, ids: readonly number[]): void {
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    // A slice as the key would keep the whole prompt it was cut from alive, so long keys are copied.
    const key = word.length < sharedSliceLength ? word : decoder.decode(encoder.encode(word));
    this.#young.set(key, ids);
  }
}
