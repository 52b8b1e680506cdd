import { DenseLayer, type DenseLayerVectors } from "../../ffi/dense_layer.ts";
import type { DenseMatrix } from "../../ffi/dense_matrix.ts";
import { RopeTable } from "../../ffi/rope_table.ts";
import { LAST_SAMPLED } from "../common/last_sampled.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { AttentionShape } from "../kernels/attention_shape.ts";
import type { WeightMatrix } from "../kernels/weight_matrix.ts";
import { layerWindow, type ModelConfig } from "./config.ts";
import type { NativeKvCache } from "./native_kv_cache.ts";
import type { RopeTables } from "./rope_tables.ts";
import type { StepAttention } from "./step_attention.ts";
import type { StepShape } from "./transformer.ts";
import type { HeldVector, LayerWeights, ModelWeights } from "./weights.ts";

/**
 * The layers of a transformer as the native library computes them while a step is recorded: on a machine whose only adapter is software, where shaders
 * would run on the same processor. Weights, keys and values and the residual stream are in CPU memory; logits are handed to the GPU.
 */
export class NativeLayers implements Disposable {
  readonly #gpu: Gpu;
  readonly #layers: readonly DenseLayer[];
  readonly #ropes: readonly RopeTable[];
  readonly #embedding: DenseMatrix;
  readonly #embeddingScale: number;
  readonly #head: DenseMatrix;
  readonly #outputNorm: { gains: Float32Array<ArrayBuffer>; width: number; epsilon: number };
  readonly #columns: number;
  readonly #shape: AttentionShape;
  readonly #x: Float32Array<ArrayBuffer>;
  readonly #queries: Float32Array<ArrayBuffer>;
  readonly #attended: Float32Array<ArrayBuffer>;
  readonly #logMasses: Float32Array<ArrayBuffer>;
  /** By slot. */
  readonly #lastSampled = new Map<number, number>();
  #told = true;

  /** @throws {RangeError} for weights that do not fit together. */
  constructor(
    gpu: Gpu,
    config: ModelConfig,
    shape: AttentionShape,
    weights: ModelWeights,
    readonly cache: NativeKvCache,
    ropes: RopeTables,
    { maxRows, maxSequences }: { maxRows: number; maxSequences: number },
  ) {
    this.#gpu = gpu;
    this.#shape = shape;
    const tables = new Set(weights.layers.map((_, index) => ropes.of(index)));
    const opened = new Map(
      Array.from(tables, (table) => [table, RopeTable.open(shape.paddedHeadDim, table)]),
    );
    this.#ropes = [...opened.values()];
    this.#layers = weights.layers.map((layer, index) =>
      openLayer(config, shape, layer, index, opened.get(ropes.of(index))!)
    );
    this.#embedding = nativeOf(weights.embedding[0]);
    this.#embeddingScale = config.embeddingScale;
    this.#head = nativeOf(weights.output[0]);
    this.#outputNorm = {
      gains: weights.outputNorm.values,
      width: config.width,
      epsilon: config.normEpsilon,
    };
    this.#columns = weights.embedding[0].columns;
    const { heads, paddedHeadDim, outputRowQuads } = shape;
    this.#x = new Float32Array(maxRows * this.#columns);
    this.#queries = new Float32Array(maxRows * heads * paddedHeadDim);
    this.#attended = new Float32Array(maxRows * outputRowQuads * 4);
    this.#logMasses = new Float32Array(maxSequences * heads);
  }

  /**
   * Computes the layers of a step.
   * @throws {Error} when a row decodes and `tellSampled` was not told what was sampled before.
   */
  record(pass: StepPass, step: StepShape, attention?: StepAttention): void {
    const x = this.#x.subarray(0, step.rows * this.#columns);
    this.#embedding.gather(this.#tokens(step), this.#embeddingScale, x);
    const room = {
      queries: this.queries(step),
      attended: this.attended(step),
      logMasses: this.logMasses(step),
    };
    const cache = this.cache.held;
    if (attention) {
      for (const [index, layer] of this.#layers.entries()) {
        layer.project(cache, step, x, room.queries);
        const record = () => layer.attend(cache, step, room.queries, room.attended, room.logMasses);
        attention.attend(pass, index, step, { record });
        layer.complete(room.attended, x);
      }
    } else DenseLayer.run(this.#layers, cache, step, x, room);
  }

  /** Writes the logits of rows of the step whose layers came last, `perRow` apart. */
  writeLogits(rows: ArrayLike<number>, logits: GPUBuffer, perRow: number): void {
    const product = new Float32Array(rows.length * perRow);
    this.#head.multiply(this.hiddenStates(rows), product, this.#outputNorm);
    this.#gpu.buffers.write(logits, 0, product);
  }

  /** What the layers that came last left of some of the step's rows, `[row][columns]`. */
  hiddenStates(rows: ArrayLike<number>): Float32Array<ArrayBuffer> {
    const columns = this.#columns;
    const states = new Float32Array(rows.length * columns);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i];
      states.set(this.#x.subarray(row * columns, (row + 1) * columns), i * columns);
    }
    return states;
  }

  /** Says that tokens are about to be sampled, which rows that decode wait for. */
  awaitSampled(): void {
    this.#told = false;
  }

  /** What was sampled for slots. */
  tellSampled(slots: Uint32Array, tokens: Uint32Array): void {
    slots.forEach((slot, i) => this.#lastSampled.set(slot, tokens[i]));
    this.#told = true;
  }

  /** Queries of a layer's rows, `[row][head][padded dimension]`. */
  queries({ rows }: StepShape): Float32Array<ArrayBuffer> {
    const { heads, paddedHeadDim } = this.#shape;
    return this.#queries.subarray(0, rows * heads * paddedHeadDim);
  }

  /** What a layer's rows attended to, `[row][padded columns]`. */
  attended({ rows }: StepShape): Float32Array<ArrayBuffer> {
    return this.#attended.subarray(0, rows * this.#shape.outputRowQuads * 4);
  }

  /** Binary logarithms of the sums of weights, `[row that decodes][head]`. */
  logMasses({ decodes }: StepShape): Float32Array<ArrayBuffer> {
    return this.#logMasses.subarray(0, decodes * this.#shape.heads);
  }

  /** Frees the layers and the cache. Idempotent. */
  [Symbol.dispose](): void {
    for (const layer of this.#layers) layer[Symbol.dispose]();
    for (const rope of this.#ropes) rope[Symbol.dispose]();
    this.cache[Symbol.dispose]();
  }

  /** The tokens of a step's rows. One that is none, as of logits that are no numbers, stands for the first: its sequence has failed. */
  #tokens({ rows, stepRows }: StepShape): Uint32Array<ArrayBuffer> {
    const tokens = new Uint32Array(rows);
    for (let row = 0; row < rows; row++) {
      const [token, slot] = [stepRows[row * 4], stepRows[row * 4 + 1]];
      if (token === LAST_SAMPLED && !this.#told) {
        throw new Error("record a step: what was sampled before was not told");
      }
      const own = token === LAST_SAMPLED ? this.#lastSampled.get(slot) ?? 0 : token;
      tokens[row] = own < this.#embedding.outputs ? own : 0;
    }
    return tokens;
  }
}

function nativeOf({ native, label }: WeightMatrix): DenseMatrix {
  if (!native) throw new TypeError(`weights ${label} are not held natively`);
  return native;
}

function openLayer(
  config: ModelConfig,
  { heads, kvHeads, headDim, paddedHeadDim: dim, outputRowQuads }: AttentionShape,
  layer: LayerWeights,
  index: number,
  rope: RopeTable,
): DenseLayer {
  const vectors: DenseLayerVectors = {
    attention: layer.attentionNorm.values,
    feedForward: layer.feedForwardNorm.values,
  };
  const set = (name: keyof DenseLayerVectors, vector: HeldVector | undefined) => {
    if (vector) vectors[name] = vector.values;
  };
  set("qkvBias", layer.qkvBias);
  set("heads", layer.headGains);
  set("outputBias", layer.outputBias);
  set("attentionPost", layer.postNorms?.attention);
  set("feedForwardPost", layer.postNorms?.feedForward);
  const window = layerWindow(config, index)?.tokens;
  return DenseLayer.open({
    qkv: nativeOf(layer.qkv),
    output: nativeOf(layer.attentionOutput),
    up: nativeOf(layer.up),
    down: nativeOf(layer.down),
    activation: config.feedForward,
    rope,
    place: index,
    width: config.width,
    heads,
    kvHeads,
    headDim,
    dim,
    stride: outputRowQuads * 4,
    ...(window === undefined ? {} : { window }),
    epsilon: config.normEpsilon,
    // The softmax uses exp2.
    queryScale: Math.LOG2E * config.queryScale,
    residualScale: config.residualScale,
  }, vectors);
}
