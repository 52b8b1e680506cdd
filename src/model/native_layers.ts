import { DenseLayer, type DenseLayerVectors } from "../../ffi/dense_layer.ts";
import type { DenseMatrix } from "../../ffi/dense_matrix.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { Readback } from "../gpu/readback.ts";
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
 * would run on the same processor. The residual stream is read once, and stays in CPU memory until the last layer has added to it.
 */
export class NativeLayers implements Disposable {
  readonly #gpu: Gpu;
  readonly #residual: GPUBuffer;
  readonly #readback: Readback;
  readonly #layers: readonly DenseLayer[];
  readonly #ropes: readonly Float32Array<ArrayBuffer>[];
  readonly #head: readonly DenseMatrix[];
  readonly #outputNorm: { gains: Float32Array<ArrayBuffer>; width: number; epsilon: number };
  readonly #columns: number;
  readonly #shape: AttentionShape;
  readonly #x: Float32Array<ArrayBuffer>;
  readonly #queries: Float32Array<ArrayBuffer>;
  readonly #attended: Float32Array<ArrayBuffer>;
  readonly #logMasses: Float32Array<ArrayBuffer>;

  /**
   * @param readback reads `residual`, f32 `[row][columns]` of `maxRows` rows
   * @throws {RangeError} for weights that do not fit together.
   */
  constructor(
    gpu: Gpu,
    config: ModelConfig,
    shape: AttentionShape,
    weights: ModelWeights,
    readonly cache: NativeKvCache,
    ropes: RopeTables,
    { residual, readback, maxRows, maxSequences }: {
      residual: GPUBuffer;
      readback: Readback;
      maxRows: number;
      maxSequences: number;
    },
  ) {
    this.#gpu = gpu;
    this.#shape = shape;
    this.#residual = residual;
    this.#readback = readback;
    this.#layers = weights.layers.map((layer, index) => openLayer(config, shape, layer, index));
    this.#ropes = weights.layers.map((_, index) => ropes.of(index));
    this.#head = weights.output.map(nativeOf);
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

  /** Computes the layers of a step, whose embeddings `pass` has recorded. */
  record(pass: StepPass, step: StepShape, attention?: StepAttention): void {
    const x = this.#x.subarray(0, step.rows * this.#columns);
    try {
      this.#readback.record(pass, this.#residual, 0, x.byteLength);
      pass.flush();
      this.#readback.use((mapped) => x.set(new Float32Array(mapped, 0, x.length)));
    } catch (error) {
      // The next step would take what was not read for its own.
      this.#readback.forget();
      throw error;
    }
    const queries = this.queries(step);
    for (const [index, layer] of this.#layers.entries()) {
      layer.project(this.cache.held, this.#ropes[index], step, x, queries);
      const dense = { record: () => this.#attend(index, step) };
      if (attention) attention.attend(pass, index, step, dense);
      else dense.record();
      layer.complete(this.attended(step), x);
    }
    // Hidden states are read from there.
    this.#gpu.buffers.write(this.#residual, 0, x);
  }

  /** Writes the logits of rows of the step whose layers came last, `perRow` apart. */
  writeLogits(rows: Uint32Array, logits: GPUBuffer, perRow: number): void {
    const columns = this.#columns;
    const operand = new Float32Array(rows.length * columns);
    rows.forEach((row, i) =>
      operand.set(this.#x.subarray(row * columns, (row + 1) * columns), i * columns)
    );
    let first = 0;
    for (const matrix of this.#head) {
      const product = new Float32Array(rows.length * matrix.outputs);
      matrix.multiply(operand, product, this.#outputNorm);
      for (let i = 0; i < rows.length; i++) {
        const part = product.subarray(i * matrix.outputs, (i + 1) * matrix.outputs);
        this.#gpu.buffers.write(logits, (i * perRow + first) * 4, part);
      }
      first += matrix.outputs;
    }
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
    this.cache[Symbol.dispose]();
  }

  #attend(index: number, step: StepShape): void {
    this.#layers[index].attend(
      this.cache.held,
      step,
      this.queries(step),
      this.attended(step),
      this.logMasses(step),
    );
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
