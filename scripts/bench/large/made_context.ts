import type { KvContext } from "../../../ffi/kv_context.ts";
import { Rng } from "../../../src/common/rng.ts";
import { numberToF16 } from "../../../src/formats/f16.ts";
import { PAGE_TOKENS } from "../../../src/model/kv_cache.ts";

/** Directions in which keys vary, and words whose keys are alike. */
const DIRECTIONS = 32;
const WORDS = 16384;
/** Texts of like content: each page is of one. */
const TOPICS = 64;
/** Pages made; a longer context repeats them with noise of its own. */
const PAGES = 256;
const NOISE = 1 << 20;

/**
 * Keys and values with what matters of a long context's: variance that falls off by a power over a few dozen directions, many occurrences of
 * frequent words, topics, noise that makes each its own, values that have a part in common and follow keys in part (as the made head of
 * the native benches). `scale` is the factor on keys.
 */
export class MadeContext {
  readonly #keys: Uint16Array<ArrayBuffer>;
  readonly #values: Uint16Array<ArrayBuffer>;
  readonly #pageLength: number;

  constructor(kvHeads: number, stride: number, dim: number, scale: number) {
    const rng = new Rng(7);
    const strengths = Float32Array.from({ length: DIRECTIONS }, (_, j) => (j + 1) ** -0.6);
    const total = Math.hypot(...strengths);
    const words = rng.normals(WORDS * DIRECTIONS, 0.72);
    const topics = rng.normals(TOPICS * DIRECTIONS, 0.56);
    const basis = rng.normals(DIRECTIONS * dim, 1);
    const map = rng.normals(DIRECTIONS * dim, 1);
    const common = rng.normals(dim, 1);
    const noise = rng.normals(NOISE, 1);
    this.#pageLength = kvHeads * PAGE_TOKENS * stride;
    this.#keys = new Uint16Array(PAGES * this.#pageLength);
    this.#values = new Uint16Array(PAGES * this.#pageLength);
    const content = new Float32Array(DIRECTIONS);
    for (let row = 0; row < PAGES * kvHeads * PAGE_TOKENS; row++) {
      // Uniform in the logarithm of the rank: Zipf's law.
      const word = Math.min(WORDS - 1, Math.floor(WORDS ** rng.uniform()) - 1);
      const topic = Math.floor(row / (kvHeads * PAGE_TOKENS)) % TOPICS;
      const shift = rng.integer(NOISE);
      for (let j = 0; j < DIRECTIONS; j++) {
        const own = words[word * DIRECTIONS + j] + topics[topic * DIRECTIONS + j] +
          0.4 * noise[(shift + j) % NOISE];
        content[j] = own * strengths[j] / total;
      }
      for (let i = 0; i < dim; i++) {
        let key = 0.1 * noise[(shift + 64 + i) % NOISE];
        let value = common[i] + 0.5 * noise[(shift + 256 + i) % NOISE];
        for (let j = 0; j < DIRECTIONS; j++) {
          key += content[j] * basis[j * dim + i];
          value += content[j] * map[j * dim + i];
        }
        this.#keys[row * stride + i] = numberToF16(scale * key);
        this.#values[row * stride + i] = numberToF16(value);
      }
    }
  }

  /** Appends `pages` pages to a layer. */
  fill(context: KvContext, layer: number, pages: number): void {
    for (let at = 0; at < pages; at += PAGES) {
      const count = Math.min(PAGES, pages - at);
      const length = count * this.#pageLength;
      const keys = this.#keys.slice(0, length);
      // Repeated pages differ in the low bits of their numbers: by up to a hundredth, more than clusters are wide in places.
      const change = (at / PAGES * 2654435761 + layer * 40503) >>> 0;
      if (at > 0) {
        const pairs = new Uint32Array(keys.buffer);
        for (let i = 0; i < pairs.length; i++) {
          pairs[i] ^= (Math.imul(i, 2246822519) + change >>> 7) & 0x000f_000f;
        }
      }
      context.append(layer, keys, this.#values.subarray(0, length));
    }
  }
}
