import { ModelFormatError } from "../src/common/errors.ts";
import { floatsArgument } from "./floats_argument.ts";
import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import { type SearchStrategy, strategyMask, strategyOf } from "./search_strategy.ts";
import { check } from "./status.ts";
import { u32Argument } from "./u32_argument.ts";

/** Most hits of one search, found or not: 2 GiB of numbers and scores. */
const maxHits = 2 ** 28;

/** What {@linkcode AttentionIndex.build} takes. */
export interface AttentionIndexOptions {
  /** The vectors to search, `[count, dim]`. */
  keys: Float32Array;
  /** Elements of a vector, 4096 at most. */
  dim: number;
  /**
   * A sample of the queries to come, `[count, dim]`: the index is built for them. A few thousand are plenty. Without any,
   * the keys stand in for their own queries.
   */
  queries?: Float32Array;
  /** The same seed gives the same index, whatever the number of threads. Default 1. */
  seed?: number;
  /** Share of the `k` best keys that a search should find, from 0 to 1. Default 0.95. */
  recall?: number;
  /** The number of keys for which `recall` is measured. Default 100. */
  k?: number;
  /** About this many keys share a cluster. Default 64. */
  clusterSize?: number;
  /** Training queries at most; by default one for 32 keys, at least 2048. */
  maxQueries?: number;
  /** Strategies to choose from; default all. */
  strategies?: readonly SearchStrategy[];
}

/** What {@linkcode AttentionIndex.search} takes. */
export interface SearchOptions {
  /** Number of keys wanted, for all queries together 2²⁸ at most. Default 100. */
  k?: number;
  /** Overrides the effort chosen when the index was built: pool size, clusters probed, or keys scored again. */
  effort?: number;
}

/** What a search found, for each query in turn. */
export interface SearchHits {
  /** Numbers of the keys, best first, `[queries, k]`; 2³² − 1 where fewer than `k` were found. */
  ids: Uint32Array;
  /** Their inner products with the query, `[queries, k]`; −∞ where fewer were found. */
  scores: Float32Array;
  /** Inner products that each query took, `[queries]`. */
  scanned: Uint32Array;
}

/** What an index is. */
export interface AttentionIndexInfo {
  /** Number of keys. */
  keys: number;
  /** Elements of a key. */
  dim: number;
  /** Memory held (or mapped from a file). */
  bytes: number;
  /** How it is searched: the cheapest way that reached the recall. */
  strategy: SearchStrategy;
  /** Pool size, clusters probed (as many more as keys are appended) or keys scored again, by strategy. */
  effort: number;
}

/**
 * An approximate index for maximum-inner-product search, made for attention: built from a sample of queries, it also
 * answers queries whose distribution is far from that of the keys, where usual indexes fail (RetrievalAttention, Liu et
 * al. 2024, section 2.3). Works as well with any embedding vectors, by cosine similarity where all have length 1. Runs in the native library.
 *
 * ```ts
 * import { AttentionIndex } from "./mod.ts";
 *
 * const dim = 8;
 * const keys = Float32Array.from({ length: 1000 * dim }, (_, i) => Math.sin(i * i));
 * using index = AttentionIndex.build({ keys, dim });
 * const { ids, scores } = index.search(keys.subarray(0, dim), { k: 3 });
 * console.assert(ids.length === 3 && scores[0] >= scores[1]);
 * ```
 */
export class AttentionIndex implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "attention index",
      id,
      (id) => library.symbols.sparrow_index_dispose(id),
    );
  }

  /**
   * Builds an index: 128K keys of 64 elements take some seconds on two cores.
   *
   * @throws {RangeError} for shapes that do not fit, options out of range, or elements that are not finite or beyond ±65504 (keys are held in
   * half precision).
   * @throws {TypeError} for arrays of another type than `Float32Array`.
   * @throws {Error} without the native library.
   */
  static build(options: AttentionIndexOptions): AttentionIndex {
    const library = loadNative();
    const keys = floatsArgument("keys", options.keys);
    const queries = floatsArgument("queries", options.queries ?? new Float32Array(0));
    const { recall = 0.95 } = options;
    if (!(typeof recall === "number" && recall >= 0 && recall <= 1)) {
      throw new RangeError(`recall is ${recall}, expected a number from 0 to 1`);
    }
    const out = new BigUint64Array(1);
    check(
      library,
      library.symbols.sparrow_index_build(
        keys,
        keys.length,
        queries,
        queries.length,
        u32Argument("dim", options.dim, 1),
        u32Argument("seed", options.seed ?? 1),
        u32Argument("clusterSize", options.clusterSize ?? 64, 1),
        u32Argument("maxQueries", options.maxQueries ?? 0),
        recall,
        u32Argument("k", options.k ?? 100, 1),
        strategyMask(options.strategies),
        out,
      ),
    );
    return new AttentionIndex(library, out[0]);
  }

  /**
   * Opens an index file in place: it is mapped, and must not be changed while the index lives.
   *
   * @throws {ModelFormatError} for a damaged or foreign file, which it names.
   * @throws {Error} when it cannot be read, or without the native library.
   */
  static load(path: string): AttentionIndex {
    const library = loadNative();
    const name = new TextEncoder().encode(path);
    const out = new BigUint64Array(1);
    try {
      check(library, library.symbols.sparrow_index_open(name, name.length, out));
    } catch (error) {
      if (error instanceof ModelFormatError) error.message = `${path}: ${error.message}`;
      throw error;
    }
    return new AttentionIndex(library, out[0]);
  }

  /**
   * Writes the index to a file, in place of one that is there; a symbolic link is followed.
   *
   * @throws {Error} when that fails, or when there is something at `path` that is no file.
   */
  save(path: string): void {
    const name = new TextEncoder().encode(path);
    check(
      this.#library,
      this.#library.symbols.sparrow_index_save(this.#handle.id, name, name.length),
    );
  }

  /**
   * The keys of largest inner product with each of the `queries` (`[count, dim]`).
   *
   * @throws {RangeError} for queries that are not whole vectors of finite numbers within ±65504, or options out of range.
   * @throws {TypeError} for an array of another type, or after disposal.
   */
  search(queries: Float32Array, options: SearchOptions = {}): SearchHits {
    const { dim } = this.info;
    const k = u32Argument("k", options.k ?? 100, 1);
    const wanted = floatsArgument("queries", queries);
    const count = Math.floor(wanted.length / dim);
    // What was not found takes memory too: a `k` for "all" would take gigabytes of it.
    if (count * k > maxHits) {
      throw new RangeError(
        `k is ${k} for ${count} queries, expected at most ${maxHits} hits in all`,
      );
    }
    const ids = new Uint32Array(count * k);
    const scores = new Float32Array(count * k);
    const scanned = new Uint32Array(count);
    check(
      this.#library,
      this.#library.symbols.sparrow_index_search(
        this.#handle.id,
        wanted,
        wanted.length,
        k,
        u32Argument("effort", options.effort ?? 0),
        ids,
        scores,
        ids.length,
        scanned,
        scanned.length,
      ),
    );
    return { ids, scores, scanned };
  }

  /** Adds keys (`[count, dim]`), numbered on from the last. Throws as `build`. */
  append(keys: Float32Array): void {
    check(
      this.#library,
      this.#library.symbols.sparrow_index_append(
        this.#handle.id,
        floatsArgument("keys", keys),
        keys.length,
      ),
    );
  }

  /** What the index is now. */
  get info(): AttentionIndexInfo {
    const out = new Uint32Array(6);
    check(this.#library, this.#library.symbols.sparrow_index_info(this.#handle.id, out));
    const [keys, dim, low, high, strategy, effort] = out;
    return { keys, dim, bytes: high * 2 ** 32 + low, strategy: strategyOf(strategy), effort };
  }

  /** Frees the native memory. Idempotent; any later use throws `TypeError`. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
