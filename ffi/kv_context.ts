import { Handle } from "./handle.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import { check } from "./status.ts";

/** Sizes of a model's attention. */
export interface KvContextShape {
  layers: number;
  kvHeads: number;
  /** A multiple of `kvHeads`. */
  heads: number;
  /** Elements of a head. */
  dim: number;
  /** Elements from one row to the next in pages, queries and outputs: `dim` and padding. */
  stride: number;
  /** Factor on scores before the natural softmax. */
  scale: number;
}

/** How much of a context a step looks at. */
export type AttentionBudget =
  /** Every key: exact attention. */
  | { kind: "all" }
  /** The best keys of each query head, nothing else (the paper's fixed budget). */
  | { kind: "keys"; count: number }
  /** As much as keeps the mean relative error of a layer's output under this; the rest is estimated from clusters. */
  | { kind: "error"; share: number };

const budgetKinds = { all: 0, keys: 1, error: 2 } as const;

/** Where one layer's attention goes; all arrays are `[rows, heads, …]`. */
export interface AttendResult {
  /** `[rows, heads, stride]`. */
  output: Float32Array<ArrayBuffer>;
  /** `[rows, heads]`: natural logarithm of the sum of exponentials; −∞ for an empty part. */
  lse: Float32Array<ArrayBuffer>;
  /**
   * `[rows, heads, 3]`: keys scored, share of the mass not computed key by key (for a fixed number of keys 1 if no bound was asked for),
   * upper bound on that share (1 if not asked).
   */
  reports: Float32Array<ArrayBuffer>;
}

/**
 * Keys and values of one sequence in CPU memory, every layer, with an index per KV head once `build` has run
 * (RetrievalAttention, Liu et al. 2024, section 3). Lives in the native library.
 */
export class KvContext implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;
  readonly #bytes = new Uint32Array(2);

  private constructor(library: NativeLibrary, id: bigint) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "KV context",
      id,
      (id) => library.symbols.sparrow_context_dispose(id),
    );
  }

  /**
   * An empty context.
   * @param seed of the indexes: the same seed and content give the same index
   * @throws {RangeError} for sizes that do not fit together.
   * @throws {Error} without the native library.
   */
  static open(shape: KvContextShape, seed = 1): KvContext {
    const library = loadNative();
    const out = new BigUint64Array(1);
    const { layers, kvHeads, heads, dim, stride, scale } = shape;
    check(
      library,
      library.symbols.sparrow_context_open(layers, kvHeads, heads, dim, stride, scale, seed, out),
    );
    return new KvContext(library, out[0]);
  }

  /**
   * Adds whole pages of 64 tokens, `[pages, kvHeads, 64, stride]` in half precision; before or after `build`.
   * @throws {RangeError} for lengths that are not whole pages.
   */
  append(
    layer: number,
    keys: Uint16Array<ArrayBuffer>,
    values: Uint16Array<ArrayBuffer>,
  ): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_context_append(
        this.#handle.id,
        layer,
        keys,
        keys.length,
        values,
        values.length,
      ),
    );
  }

  /** Adds queries of the prompt, `[tokens, heads, stride]`: what `build` prepares for. */
  sample(layer: number, queries: Float32Array<ArrayBuffer>): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_context_sample(this.#handle.id, layer, queries, queries.length),
    );
  }

  /**
   * Builds one layer's index, off the main thread: seconds for long contexts.
   * @param target the usual error budget, for which memory is held; ten times as much and down to a tenth are calibrated as well, below that
   * all keys are read
   * @param fixed whether budgets of a number of keys get a graph where that is the cheapest: a third more memory, and a build of several
   * times the length
   * @throws {RangeError} when the layer is empty or built already.
   */
  async build(layer: number, target: number, fixed = false): Promise<void> {
    const { symbols } = this.#library;
    const id = this.#handle.id;
    check(this.#library, await symbols.sparrow_context_build(id, layer, target, fixed ? 1 : 0));
  }

  /** As `build`, blocking the calling isolate. */
  buildNow(layer: number, target: number, fixed = false): void {
    const { symbols } = this.#library;
    const id = this.#handle.id;
    check(this.#library, symbols.sparrow_context_build_now(id, layer, target, fixed ? 1 : 0));
  }

  /** Bytes held. */
  get bytes(): number {
    check(
      this.#library,
      this.#library.symbols.sparrow_context_bytes(this.#handle.id, this.#bytes),
    );
    return this.#bytes[0] + this.#bytes[1] * 2 ** 32;
  }

  /** Frees the memory; a build under way ends first. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }

  /**
   * Attention of one token of each context over all that its layer holds, one blocking call for all of them.
   *
   * @param queries `[contexts, heads, stride]`
   * @param bound whether to compute the upper bounds of `reports`, which costs as much again as the estimate does
   * @throws {RangeError} for lengths that do not fit, queries that are not finite, or a layer that is not built.
   */
  static attend(
    contexts: readonly { context: KvContext; budget: AttentionBudget }[],
    layer: number,
    queries: Float32Array<ArrayBuffer>,
    result: AttendResult,
    bound = false,
  ): void {
    if (contexts.length === 0) return;
    const library = contexts[0].context.#library;
    const handles = BigUint64Array.from(contexts, ({ context }) => context.#handle.id);
    const kinds = Uint32Array.from(contexts, ({ budget }) => budgetKinds[budget.kind]);
    const budgets = Float32Array.from(contexts, ({ budget }) => amount(budget));
    const { output, lse, reports } = result;
    if (output.length !== queries.length) {
      throw new RangeError(
        `attend: output has ${output.length} elements, expected ${queries.length} as the queries have`,
      );
    }
    check(
      library,
      library.symbols.sparrow_context_attend(
        handles,
        contexts.length,
        layer,
        queries,
        queries.length,
        kinds,
        budgets,
        bound ? 1 : 0,
        output,
        lse,
        lse.length,
        reports,
        reports.length,
      ),
    );
  }
}

function amount(budget: AttentionBudget): number {
  if (budget.kind === "all") return 0;
  return budget.kind === "keys" ? budget.count : budget.share;
}
