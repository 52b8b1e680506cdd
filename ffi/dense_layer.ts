import type { DenseMatrix } from "./dense_matrix.ts";
import { Handle } from "./handle.ts";
import type { KvPages } from "./kv_pages.ts";
import { loadNative, type NativeLibrary } from "./load.ts";
import type { RopeTable } from "./rope_table.ts";
import { check } from "./status.ts";

/** What lies between the products of a feed-forward network. */
export type Activation = "swiglu" | "geglu" | "relu2";

const activations: Record<Activation, number> = { swiglu: 0, geglu: 1, relu2: 2 };

/** Numbers and matrices of a layer. */
export interface DenseLayerParts {
  /** Query, key and value projections, heads padded to `dim`. */
  qkv: DenseMatrix;
  /** Projection of attention's output, of `stride` columns. */
  output: DenseMatrix;
  /** Outputs of gated networks are pairs of gate and value. */
  up: DenseMatrix;
  down: DenseMatrix;
  activation: Activation;
  rope: RopeTable;
  /** Which of the cache's layers it is. */
  place: number;
  /** Of the residual stream, without padding. */
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Elements of a head, padding included: a multiple of 64. */
  dim: number;
  /** Elements from one row of attention's output to the next. */
  stride: number;
  /** Latest keys that a row sees, its own included; default all. */
  window?: number;
  /** Of all norms: added to the mean square. */
  epsilon: number;
  /** Factor of queries: log2(e) times that of scores. */
  queryScale: number;
  /** Factor of what is added to the residual stream. */
  residualScale: number;
}

/** Vectors of a layer, each padded as the matrix beside it. */
export interface DenseLayerVectors {
  /** Gains of the norm before attention. */
  attention: Float32Array<ArrayBuffer>;
  /** Biases of queries, keys and values. */
  qkvBias?: Float32Array<ArrayBuffer>;
  /** Gains of query heads, then of key heads. */
  heads?: Float32Array<ArrayBuffer>;
  /** Biases of attention's output. */
  outputBias?: Float32Array<ArrayBuffer>;
  /** Gains of what attention yields. */
  attentionPost?: Float32Array<ArrayBuffer>;
  /** Gains of the norm before the feed-forward network. */
  feedForward: Float32Array<ArrayBuffer>;
  /** Gains of what the feed-forward network yields. */
  feedForwardPost?: Float32Array<ArrayBuffer>;
}

const vectors: (keyof DenseLayerVectors)[] = [
  "attention",
  "qkvBias",
  "heads",
  "outputBias",
  "attentionPost",
  "feedForward",
  "feedForwardPost",
];

/** What a step's rows are, as the native library takes it. */
export interface StepSpans {
  /**
   * Of each run of rows seven words: the first row, how many, the position that RoPE takes, the position among the keys of its pages, the first of those in
   * `pages`, how many, and 1 for a row that decodes.
   */
  spans: Uint32Array<ArrayBuffer>;
  pages: Uint32Array<ArrayBuffer>;
}

/** What a layer's parts leave for the next. */
export interface LayerRoom {
  /** `[row][head][dim]`. */
  queries: Float32Array<ArrayBuffer>;
  /** `[row][stride]`. */
  attended: Float32Array<ArrayBuffer>;
  /** `[row that decodes][head]`. */
  logMasses: Float32Array<ArrayBuffer>;
}

/**
 * A transformer's layer in CPU memory. What a row gets does not depend on the rows beside it; rows that decode add up in another order than those of prompts
 * do. Lives in the native library.
 */
export class DenseLayer implements Disposable {
  readonly #library: NativeLibrary;
  readonly #handle: Handle;

  private constructor(library: NativeLibrary, id: bigint) {
    this.#library = library;
    this.#handle = new Handle(
      this,
      "dense layer",
      id,
      (id) => library.symbols.sparrow_layer_dispose(id),
    );
  }

  /**
   * A layer of matrices and rotations that it keeps alive.
   * @throws {RangeError} for sizes that do not fit together.
   * @throws {Error} without the native library.
   */
  static open(parts: DenseLayerParts, values: DenseLayerVectors): DenseLayer {
    const library = loadNative();
    const out = new BigUint64Array(1);
    check(
      library,
      library.symbols.sparrow_layer_open(
        parts.qkv.id,
        parts.output.id,
        parts.up.id,
        parts.down.id,
        parts.rope.id,
        parts.place,
        parts.width,
        parts.heads,
        parts.kvHeads,
        parts.headDim,
        parts.dim,
        parts.stride,
        parts.window ?? 0,
        activations[parts.activation],
        parts.epsilon,
        parts.queryScale,
        parts.residualScale,
        out,
      ),
    );
    const layer = new DenseLayer(library, out[0]);
    vectors.forEach((name, which) => {
      const vector = values[name];
      if (!vector) return;
      const set = library.symbols.sparrow_layer_set;
      check(library, set(layer.#handle.id, which, vector, vector.length));
    });
    return layer;
  }

  /**
   * Queries of the rows; their keys and values go to `cache`. One blocking call.
   * @param x `[row][columns]`
   * @param queries `[row][head][dim]`, rotated and scaled
   * @throws {RangeError} for rows without their pages, or lengths that do not fit.
   */
  project(
    cache: KvPages,
    { spans, pages }: StepSpans,
    x: Float32Array<ArrayBuffer>,
    queries: Float32Array<ArrayBuffer>,
  ): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_layer_project(
        this.#handle.id,
        cache.id,
        spans,
        spans.length,
        pages,
        pages.length,
        x,
        x.length,
        queries,
        queries.length,
      ),
    );
  }

  /**
   * Attention of the rows to their pages. One blocking call.
   * @param attended `[row][stride]`
   * @param logMasses `[row that decodes][head]`, binary logarithms of the sums of weights
   * @throws {RangeError} for rows without their pages, or lengths that do not fit.
   */
  attend(
    cache: KvPages,
    { spans, pages }: StepSpans,
    queries: Float32Array<ArrayBuffer>,
    attended: Float32Array<ArrayBuffer>,
    logMasses: Float32Array<ArrayBuffer>,
  ): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_layer_attend(
        this.#handle.id,
        cache.id,
        spans,
        spans.length,
        pages,
        pages.length,
        queries,
        queries.length,
        attended,
        attended.length,
        logMasses,
        logMasses.length,
      ),
    );
  }

  /**
   * Adds to the rows `x` what attention yields, then what the feed-forward network does. One blocking call.
   * @throws {RangeError} when the lengths do not fit.
   */
  complete(attended: Float32Array<ArrayBuffer>, x: Float32Array<ArrayBuffer>): void {
    const { symbols } = this.#library;
    check(
      this.#library,
      symbols.sparrow_layer_complete(
        this.#handle.id,
        attended,
        attended.length,
        x,
        x.length,
      ),
    );
  }

  /**
   * What `project`, `attend` and `complete` do, of layers one after the other. One blocking call.
   * @param x `[row][columns]`, which layers add to
   * @throws {RangeError} for rows without their pages, or lengths that do not fit.
   */
  static run(
    layers: readonly DenseLayer[],
    cache: KvPages,
    { spans, pages }: StepSpans,
    x: Float32Array<ArrayBuffer>,
    { queries, attended, logMasses }: LayerRoom,
  ): void {
    const library = loadNative();
    check(
      library,
      library.symbols.sparrow_layers_run(
        BigUint64Array.from(layers, (layer) => layer.#handle.id),
        layers.length,
        cache.id,
        spans,
        spans.length,
        pages,
        pages.length,
        x,
        x.length,
        queries,
        queries.length,
        attended,
        attended.length,
        logMasses,
        logMasses.length,
      ),
    );
  }

  /** Frees the layer; its matrices when they were disposed of, too. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}
