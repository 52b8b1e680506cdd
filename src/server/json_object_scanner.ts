/** Follows the text of a JSON object, piece by piece, to the brace that ends it. */
export class JsonObjectScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Objects and arrays that are open. */
  get depth(): number {
    return this.#depth;
  }

  /**
   * Reads `text` from `from` up to where `depth` open objects and arrays are left after one was closed; the index after that brace or
   * bracket, -1 where the text does not get there.
   */
  scan(text: string, from: number, depth: number): number {
    for (let i = from; i < text.length; i++) {
      const c = text[i];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (c === "\\") this.#escaped = true;
        else if (c === '"') this.#inString = false;
      } else if (c === '"') this.#inString = true;
      else if (c === "{" || c === "[") this.#depth++;
      else if ((c === "}" || c === "]") && --this.#depth <= depth) return i + 1;
    }
    return -1;
  }
}
