import type { Gpu } from "../gpu/gpu.ts";
import type { KernelCall } from "../gpu/kernel_call.ts";
import {
  type AdjustBuffers,
  ADJUSTED_BYTES,
  createAdjust,
  maskWords,
  type RecordAdjust,
} from "../kernels/adjust.ts";
import {
  Attention,
  type AttentionBuffers,
  type AttentionScratch,
  createAttentionScratch,
} from "../kernels/attention.ts";
import type { AttentionShape } from "../kernels/attention_shape.ts";
import { createEmbed } from "../kernels/embed.ts";
import { createHeadNorm } from "../kernels/head_norm.ts";
import { Linear } from "../kernels/linear.ts";
import type { LinearFinish, NormInput, OperandBytes } from "../kernels/linear_variant.ts";
import { createPostNorm } from "../kernels/post_norm.ts";
import { qkvFinish } from "../kernels/qkv_finish.ts";
import { createRowScales } from "../kernels/row_scales.ts";
import { createSample } from "../kernels/sample.ts";
import { createScore, SCORE_BYTES, type ScoreBuffers, SCORED_BYTES } from "../kernels/score.ts";
import type { StepBuffers } from "../kernels/step_buffers.ts";
import type { WeightMatrix } from "../kernels/weight_matrix.ts";
import { layerWindow, type ModelConfig } from "./config.ts";
import { type KvCache, PAGE_TOKENS } from "./kv_cache.ts";
import type { RopeTables } from "./rope_tables.ts";
import type { TransformerOptions } from "./transformer_options.ts";
import type { HeldVector, LayerWeights, ModelWeights } from "./weights.ts";

/** The kernels of one layer. */
export interface Layer {
  qkv: Linear;
  /** Finishes what `qkv` only stores, where query and key heads are normalised. */
  headNorm: KernelCall | undefined;
  attention: Attention;
  attentionBuffers: AttentionBuffers;
  output: Linear;
  /** Add to the residual stream what `output` and `down` only store, where that is normalised. */
  postNorms: { attention: KernelCall; feedForward: KernelCall } | undefined;
  up: Linear;
  down: Linear;
}

/** Parts of a matrix, each with which row of the whole is its first. */
function withFirstRows(parts: readonly WeightMatrix[]): [WeightMatrix, number][] {
  let rows = 0;
  return parts.map((part) => [part, (rows += part.rows) - part.rows]);
}

/** Makes the pieces of a transformer: activations and their widths are known here only. */
export class TransformerBuilder {
  readonly sampled: GPUBuffer;
  readonly logits: GPUBuffer;
  readonly keptLogits: GPUBuffer;
  readonly residual: GPUBuffer;
  /** Logits of a row, padded. */
  readonly logitsPerRow: number;
  readonly #rowScale: GPUBuffer;
  readonly #query: GPUBuffer;
  /** QKV products of a step, in models that normalise heads. */
  readonly #projected: GPUBuffer;
  readonly #attended: GPUBuffer;
  /** What attention or feed-forward yields, in models that normalise it. */
  readonly #yielded: GPUBuffer;
  readonly #hidden: GPUBuffer;
  /** Operands as bytes, one product's after the other, where they are wanted. */
  readonly #bytes: OperandBytes | undefined;
  readonly #lastSampled: GPUBuffer;
  readonly adjustBuffers: Omit<AdjustBuffers, "logits" | "lastSampled">;
  readonly scoreBuffers: Pick<ScoreBuffers, "scored" | "scores">;
  readonly #ropes: RopeTables;
  /** Tables that were uploaded. */
  readonly #rotations = new Map<Float32Array, GPUBuffer>();
  readonly #quads: number;
  readonly #contextPages: number;
  readonly #scratch: AttentionScratch;

  constructor(
    readonly gpu: Gpu,
    readonly config: ModelConfig,
    readonly shape: AttentionShape,
    readonly weights: ModelWeights,
    readonly buffers: StepBuffers,
    /** Undefined where layers are computed natively: nothing is allocated for them. */
    cache: KvCache | undefined,
    options: TransformerOptions,
    ropes: RopeTables,
  ) {
    this.#ropes = ropes;
    const { maxRows, maxSequences } = options;
    const { paddedHeadDim, heads } = shape;
    const make = (label: string, floatsPerRow: number, rows = maxRows) =>
      gpu.buffers.storage(label, rows * floatsPerRow * 4);
    this.#quads = weights.embedding[0].columns / 4;
    this.logitsPerRow = weights.output.reduce((sum, { rows }) => sum + rows, 0);
    this.#contextPages = Math.ceil(options.contextLength / PAGE_TOKENS);
    const layerRows = cache ? maxRows : 0;
    const scratchSequences = cache ? maxSequences : 0;
    this.#scratch = createAttentionScratch(gpu, shape, scratchSequences, this.#contextPages);
    this.residual = make("residual", this.#quads * 4, layerRows);
    this.#rowScale = make("row scales", 1);
    this.#query = make("queries", heads * paddedHeadDim, layerRows);
    const projected = config.headNorm ? weights.layers[0].qkv.rows : 0;
    this.#projected = make("projected heads", projected, layerRows);
    this.#attended = make("attention output", shape.outputRowQuads * 4, layerRows);
    this.#yielded = make("yielded", config.postNorms ? this.#quads * 4 : 0, layerRows);
    this.#hidden = make("feed-forward", weights.layers[0].down.columns, layerRows);
    const widest = Math.max(
      this.#quads * 4,
      weights.layers[0].down.columns,
      shape.outputRowQuads * 4,
    );
    const quantised = weights.layers.some(({ qkv, attentionOutput, up, down }) =>
      [qkv, attentionOutput, up, down].some(({ scales }) => scales !== undefined)
    );
    this.#bytes = options.activations === "int8" && gpu.kernels === "wide" && quantised
      ? {
        words: make("operand", widest / 4),
        lines: make("operand lines", widest / 16),
      }
      : undefined;
    this.#lastSampled = make("last sampled", 1, maxSequences);
    this.adjustBuffers = {
      adjusted: make("adjusted rows", ADJUSTED_BYTES / 4, maxSequences),
      adjustments: make("token adjustments", config.vocabulary, maxSequences),
      masks: make("token masks", maskWords(config.vocabulary), maxSequences),
    };
    this.scoreBuffers = {
      scored: make("scored rows", SCORED_BYTES / 4, maxSequences),
      scores: make("scores", SCORE_BYTES / 4, maxSequences),
    };
    this.logits = make("logits", this.logitsPerRow, maxSequences);
    this.keptLogits = make("kept logits", this.logitsPerRow, maxSequences);
    this.sampled = make("sampled", 1, maxSequences);
  }

  #ropeOf(layer: number): GPUBuffer {
    const table = this.#ropes.of(layer);
    const uploaded = this.#rotations.get(table) ?? this.gpu.buffers.upload("rope", table);
    this.#rotations.set(table, uploaded);
    return uploaded;
  }

  #norm({ buffer: gain }: HeldVector): NormInput {
    return {
      buffer: this.residual,
      quadsPerRow: this.#quads,
      gain,
      width: this.config.width,
      epsilon: this.config.normEpsilon,
      rowScale: this.#rowScale,
    };
  }

  rowScales(): Promise<KernelCall> {
    const { buffer: input, rowScale, quadsPerRow, width, epsilon } = this.#norm(
      this.weights.outputNorm,
    );
    return createRowScales(this.gpu, { input, rowScale, quadsPerRow, width, epsilon });
  }

  /** For each part of the embedding. */
  embed(): Promise<KernelCall[]> {
    return Promise.all(
      withFirstRows(this.weights.embedding).map(([matrix, firstToken]) =>
        createEmbed(this.gpu, {
          matrix,
          firstToken,
          step: this.buffers.step,
          rows: this.buffers.rows,
          lastSampled: this.#lastSampled,
          output: this.residual,
          quadsPerRow: this.#quads,
          scale: this.config.embeddingScale,
        })
      ),
    );
  }

  /** For each part of the output matrix. */
  head(): Promise<Linear[]> {
    const { output, outputNorm } = this.weights;
    return Promise.all(
      withFirstRows(output).map(([matrix, first]) =>
        Linear.create(this.gpu, {
          label: "logits",
          step: this.buffers.step,
          matrix,
          input: { kind: "sampled", ...this.#norm(outputNorm), samples: this.buffers.samples },
          finish: {
            fragments: ["dense/finish_store"],
            bindings: { output: this.logits },
            constants: {
              OUTPUT_PAIRS_PER_ROW: this.logitsPerRow / 2,
              OUTPUT_FIRST_PAIR: first / 2,
            },
          },
        })
      ),
    );
  }

  get #sampling(): Parameters<typeof createSample>[1] {
    return {
      vocabulary: this.config.vocabulary,
      logitsPerRow: this.logitsPerRow,
      buffers: {
        logits: this.logits,
        samples: this.buffers.samples,
        sampled: this.sampled,
        lastSampled: this.#lastSampled,
      },
    };
  }

  adjust(): Promise<RecordAdjust> {
    return createAdjust(this.gpu, {
      vocabulary: this.config.vocabulary,
      logitsPerRow: this.logitsPerRow,
      buffers: { ...this.adjustBuffers, logits: this.logits, lastSampled: this.#lastSampled },
    });
  }

  sample(): Promise<KernelCall> {
    return createSample(this.gpu, this.#sampling);
  }

  score(): Promise<(logits: GPUBuffer) => KernelCall> {
    const { sampled } = this;
    return createScore(this.gpu, {
      vocabulary: this.config.vocabulary,
      logitsPerRow: this.logitsPerRow,
      buffers: { sampled, ...this.scoreBuffers },
    });
  }

  async layer(layer: LayerWeights, index: number, cache: KvCache): Promise<Layer> {
    const attentionBuffers: AttentionBuffers = {
      step: this.buffers,
      query: this.#query,
      keys: cache.keys[index],
      values: cache.values[index],
      output: this.#attended,
      scratch: this.#scratch,
    };
    const window = layerWindow(this.config, index);
    const finish = qkvFinish(this.shape, this.config.queryScale, {
      step: this.buffers,
      query: this.#query,
      keys: cache.keys[index],
      values: cache.values[index],
      rope: this.#ropeOf(index),
      bias: layer.qkvBias?.buffer,
    });
    const { postNorms: gains } = layer;
    const [qkv, headNorm, attention, output, up, down, postNorms] = await Promise.all([
      this.#qkv(layer, layer.headGains ? this.#project(layer) : finish),
      layer.headGains ? this.#headNorm(layer, layer.headGains.buffer, finish) : undefined,
      Attention.create(
        this.gpu,
        this.shape,
        this.#contextPages,
        attentionBuffers,
        window?.tokens,
      ),
      this.#toResidual(
        "attention output",
        layer.attentionOutput,
        this.#attended,
        layer.outputBias?.buffer,
      ),
      this.#up(layer),
      this.#toResidual("down", layer.down, this.#hidden),
      gains && Promise.all([this.#postNorm(gains.attention), this.#postNorm(gains.feedForward)])
        .then(([attention, feedForward]) => ({ attention, feedForward })),
    ]);
    return { qkv, headNorm, attention, attentionBuffers, output, postNorms, up, down };
  }

  #qkv(layer: LayerWeights, finish: LinearFinish): Promise<Linear> {
    return Linear.create(this.gpu, {
      label: "qkv",
      step: this.buffers.step,
      matrix: layer.qkv,
      input: { kind: "norm", ...this.#norm(layer.attentionNorm), bytes: this.#bytes },
      finish,
    });
  }

  /** The finish of a QKV product whose heads are normalised afterwards. */
  #project({ qkv }: LayerWeights): LinearFinish {
    return {
      fragments: ["dense/finish_store"],
      bindings: { output: this.#projected },
      constants: { OUTPUT_PAIRS_PER_ROW: qkv.rows / 2 },
    };
  }

  #headNorm({ qkv }: LayerWeights, gains: GPUBuffer, finish: LinearFinish): Promise<KernelCall> {
    const input = {
      step: this.buffers.step,
      projected: this.#projected,
      pairsPerRow: qkv.rows / 2,
      gains,
      headDim: this.shape.headDim,
      epsilon: this.config.normEpsilon,
    };
    return createHeadNorm(this.gpu, input, finish);
  }

  #up(layer: LayerWeights): Promise<Linear> {
    const { feedForward } = this.config;
    const gated = feedForward !== "relu2";
    return Linear.create(this.gpu, {
      label: "up",
      step: this.buffers.step,
      matrix: layer.up,
      input: { kind: "norm", ...this.#norm(layer.feedForwardNorm), bytes: this.#bytes },
      finish: {
        fragments: [`dense/finish_${feedForward}`],
        bindings: { output: this.#hidden },
        constants: { OUTPUT_PAIRS_PER_ROW: gated ? layer.down.columns : layer.down.columns / 2 },
      },
    });
  }

  #postNorm({ buffer: gain }: HeldVector): Promise<KernelCall> {
    return createPostNorm(
      this.gpu,
      { input: this.#yielded, gain, output: this.residual },
      {
        quadsPerRow: this.#quads,
        width: this.config.width,
        epsilon: this.config.normEpsilon,
      },
    );
  }

  /** To the residual stream, or to where a norm takes it there. */
  #toResidual(
    label: string,
    matrix: LayerWeights["down"],
    buffer: GPUBuffer,
    bias?: GPUBuffer,
  ): Promise<Linear> {
    return Linear.create(this.gpu, {
      label,
      step: this.buffers.step,
      matrix,
      input: { kind: "plain", buffer, quadsPerRow: matrix.columns / 4, bytes: this.#bytes },
      finish: this.config.postNorms
        ? {
          fragments: ["dense/finish_store"],
          bindings: { output: this.#yielded },
          constants: { OUTPUT_PAIRS_PER_ROW: this.#quads * 2 },
        }
        : {
          fragments: [bias ? "dense/bias_added" : "dense/bias_none", "dense/finish_residual"],
          bindings: { output: this.residual, ...(bias ? { bias } : {}) },
          constants: {
            OUTPUT_PAIRS_PER_ROW: this.#quads * 2,
            RESIDUAL_SCALE: this.config.residualScale,
          },
        },
    });
  }
}
