import { roundUp } from "../common/math.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { type AdjustBuffers, ADJUSTED_BYTES, createAdjust, maskWords } from "../kernels/adjust.ts";
import {
  Attention,
  type AttentionBuffers,
  type AttentionScratch,
  createAttentionScratch,
  type SharedTiles,
  sharedTiles,
} from "../kernels/attention.ts";
import type { AttentionShape, KvType } from "../kernels/attention_shape.ts";
import { createEmbed } from "../kernels/embed.ts";
import { Linear, MAX_INLINE_NORM_ROWS } from "../kernels/linear.ts";
import type { NormInput } from "../kernels/linear_variant.ts";
import { createRowScales } from "../kernels/row_scales.ts";
import { createSample } from "../kernels/sample.ts";
import { createScore, SCORE_BYTES, type ScoreBuffers, SCORED_BYTES } from "../kernels/score.ts";
import { StepBuffers } from "../kernels/step_buffers.ts";
import { COLUMN_MULTIPLE } from "../kernels/weight_matrix.ts";
import type { ModelConfig } from "./config.ts";
import { KvCache, PAGE_TOKENS } from "./kv_cache.ts";
import { ropeTable } from "./rope_table.ts";
import type { StepAttention } from "./step_attention.ts";
import {
  type LayerWeights,
  type LoadProgress,
  loadWeights,
  type ModelWeights,
  paddedHeadDim,
} from "./weights.ts";

/** Sizes fixed when a model is opened. */
export interface TransformerOptions {
  /** KV pages of 64 tokens. */
  pages: number;
  /** Most tokens in a step. */
  maxRows: number;
  /** Most sequences in a step, and rows sampled in one. */
  maxSequences: number;
  /** Longest sequence in tokens. */
  contextLength: number;
  kvType: KvType;
  /** Whether decoding rows that share pages may attend to them together. Default true. */
  sharedAttention?: boolean;
  onProgress?: LoadProgress;
}

/** What one step holds; its tokens, positions and tables are in `buffers`. */
export interface StepShape {
  /** Tokens, prefill and decode. */
  rows: number;
  /** Decoding sequences: the last rows. */
  decodes: number;
  /** Blocks in `buffers.largeBlocks` and `buffers.smallBlocks`. */
  largeBlocks: number;
  smallBlocks: number;
  /** Rows listed in `buffers.samples`. */
  samples: number;
  /** Blocks in `buffers.sharedBlocks`, by kind: decoding rows that share pages. Default: none. */
  shared?: readonly number[];
}

/** Kernels that a product may leave for later, at most. */
const PREPARE_ROUNDS = 2;

interface Layer {
  qkv: Linear;
  attention: Attention;
  attentionBuffers: AttentionBuffers;
  output: Linear;
  up: Linear;
  down: Linear;
}

/**
 * A decoder-only transformer on one GPU. Weights and buffers live as long as the device; every bind group is made once, so a step only
 * records dispatches: 5 a layer in decode (QKV + RoPE + cache, attention, output + residual, up + activation, down + residual), 7 when the
 * row norms are worth dispatches of their own.
 */
export class Transformer {
  readonly #rowScales: KernelCall;
  readonly #embed: KernelCall;
  readonly #head: Linear;
  readonly #adjust: KernelCall;
  readonly #sample: KernelCall;
  readonly #score: KernelCall;
  readonly #scoreKept: KernelCall;
  readonly #layers: Layer[];
  #prepared = 0;
  readonly #inlineNormRows: number;
  /** What attention of each layer reads and writes. */
  readonly attentionBuffers: readonly AttentionBuffers[];

  private constructor(
    gpu: Gpu,
    readonly config: ModelConfig,
    readonly shape: AttentionShape,
    readonly buffers: StepBuffers,
    readonly cache: KvCache,
    /** One word per sampled row: its token. */
    readonly sampled: GPUBuffer,
    /** Logits of the sampled rows, `logitsPerRow` apart. */
    readonly logits: GPUBuffer,
    /** Logits from before they were adjusted, of steps that need them. */
    readonly keptLogits: GPUBuffer,
    readonly logitsPerRow: number,
    /** Pages of the longest sequence. */
    readonly contextPages: number,
    /** What changes logits before a token is sampled. */
    readonly adjustBuffers: Omit<AdjustBuffers, "logits" | "lastSampled">,
    /** What is scored, and the scores. */
    readonly scoreBuffers: Pick<ScoreBuffers, "scored" | "scores">,
    /** How decoding rows that share pages may be put together. */
    readonly sharedTiles: SharedTiles,
    calls: {
      scales: KernelCall;
      embed: KernelCall;
      head: Linear;
      adjust: KernelCall;
      sample: KernelCall;
      score: (logits: GPUBuffer) => KernelCall;
      layers: Layer[];
    },
  ) {
    this.#rowScales = calls.scales;
    this.#embed = calls.embed;
    this.#head = calls.head;
    this.#adjust = calls.adjust;
    this.#sample = calls.sample;
    this.#score = calls.score(logits);
    this.#scoreKept = calls.score(keptLogits);
    this.#layers = calls.layers;
    this.attentionBuffers = calls.layers.map((layer) => layer.attentionBuffers);
    this.#inlineNormRows = gpu.kernels === "lanes" ? MAX_INLINE_NORM_ROWS : 0;
  }

  /**
   * Loads weights and compiles kernels.
   * @throws `ModelFormatError` for a bad file, `OutOfMemoryError` when weights and cache do not fit.
   */
  static async create(
    gpu: Gpu,
    file: GgufFile,
    config: ModelConfig,
    options: TransformerOptions,
  ): Promise<Transformer> {
    const weights = loadWeights(gpu, file, config, options.onProgress);
    const shape: AttentionShape = {
      heads: config.heads,
      kvHeads: config.kvHeads,
      headDim: config.headDim,
      paddedHeadDim: paddedHeadDim(config.headDim),
      outputRowQuads: roundUp(config.heads * config.headDim, COLUMN_MULTIPLE) / 4,
      kvType: options.kvType,
    };
    const cache = new KvCache(gpu, shape, config.layers, options.pages);
    const pagesPerSequence = Math.ceil(options.contextLength / PAGE_TOKENS);
    const buffers = new StepBuffers(
      gpu,
      options.maxRows,
      options.maxSequences,
      options.maxSequences * pagesPerSequence,
    );
    const build = new Builder(gpu, config, shape, weights, buffers, cache, options);
    const [scales, embed, head, adjust, sample, score, layers] = await Promise.all([
      build.rowScales(),
      build.embed(),
      build.head(),
      build.adjust(),
      build.sample(),
      build.score(),
      Promise.all(weights.layers.map((layer, index) => build.layer(layer, index))),
    ]);
    gpu.check();
    const tiles = sharedTiles(gpu, shape, pagesPerSequence);
    return new Transformer(
      gpu,
      config,
      shape,
      buffers,
      cache,
      build.sampled,
      build.logits,
      build.keptLogits,
      weights.output.rows,
      pagesPerSequence,
      build.adjustBuffers,
      build.scoreBuffers,
      options.sharedAttention === false ? { ...tiles, rows: [] } : tiles,
      {
        scales,
        embed,
        head,
        adjust,
        sample,
        score,
        layers,
      },
    );
  }

  /**
   * Compiles the next kernel that steps can do without, tall tiles of long prompts first: it makes some steps faster and changes no result.
   * @returns undefined when there is none left
   */
  async prepare(): Promise<KernelCall | undefined> {
    const products = [
      ...this.#layers.flatMap(({ qkv, up, output, down }) => [qkv, up, output, down]),
      this.#head,
    ];
    while (this.#prepared < PREPARE_ROUNDS * products.length) {
      const call = await products[this.#prepared % products.length].prepare();
      this.#prepared++;
      if (call) return call;
    }
    return undefined;
  }

  /**
   * Records the layers and the logits of the rows listed in `buffers.samples`.
   *
   * @param attention takes over from dense attention
   * @returns the pass to go on with, which is `pass` unless `attention` submitted it
   */
  record(pass: StepPass, step: StepShape, attention?: StepAttention): StepPass {
    const { rows, samples } = step;
    const storedNorm = rows > this.#inlineNormRows;
    const scales = () => {
      if (storedNorm) pass.dispatch(this.#rowScales, [rows]);
    };
    pass.dispatch(this.#embed, [rows]);
    for (const [index, layer] of this.#layers.entries()) {
      scales();
      layer.qkv.record(pass, step);
      if (attention) pass = attention.attend(pass, index, step, layer.attention);
      else layer.attention.record(pass, step);
      layer.output.record(pass, step);
      scales();
      layer.up.record(pass, step);
      layer.down.record(pass, step);
    }
    this.recordLogits(pass, rows, samples);
    return pass;
  }

  /**
   * Records the logits of the `samples` rows listed in `buffers.samples`, of the `rows` of the step whose layers came last. `record` does it for
   * a step's own list.
   */
  recordLogits(pass: StepPass, rows: number, samples: number): void {
    if (samples === 0) return;
    // The lanes family always computes these norms inside: a few rows at most.
    if (this.#inlineNormRows === 0) pass.dispatch(this.#rowScales, [rows]);
    this.#head.record(pass, { rows: samples, decodes: 0 });
  }

  /** Records a copy of the first `samples` rows of logits, for scores of what they were before they are adjusted. */
  recordKeep(pass: StepPass, samples: number): void {
    pass.copy(this.logits, 0, this.keptLogits, 0, samples * this.logitsPerRow * 4);
  }

  /** Records biases, penalties and masks of the first `rows` rows in `adjustBuffers.adjusted`. */
  recordAdjust(pass: StepPass, rows: number): void {
    if (rows > 0) pass.dispatch(this.#adjust, [rows]);
  }

  /** Records the choice of a token for each listed row; its slot keeps it for the next step. */
  recordSample(pass: StepPass, samples: number): void {
    pass.dispatch(this.#sample, [samples]);
  }

  /** Records the log probabilities of the first `count` rows in `scoreBuffers.scored`, by the logits as they are or as they were `kept`. */
  recordScore(pass: StepPass, count: number, kept = false): void {
    pass.dispatch(kept ? this.#scoreKept : this.#score, [count]);
  }
}

/** Makes the pieces of a transformer: activations and their widths are known here only. */
class Builder {
  readonly sampled: GPUBuffer;
  readonly logits: GPUBuffer;
  readonly keptLogits: GPUBuffer;
  readonly #residual: GPUBuffer;
  readonly #rowScale: GPUBuffer;
  readonly #query: GPUBuffer;
  readonly #attended: GPUBuffer;
  readonly #hidden: GPUBuffer;
  readonly #lastSampled: GPUBuffer;
  readonly adjustBuffers: Omit<AdjustBuffers, "logits" | "lastSampled">;
  readonly scoreBuffers: Pick<ScoreBuffers, "scored" | "scores">;
  readonly #rope: GPUBuffer;
  readonly #quads: number;
  readonly #contextPages: number;
  readonly #scratch: AttentionScratch;

  constructor(
    readonly gpu: Gpu,
    readonly config: ModelConfig,
    readonly shape: AttentionShape,
    readonly weights: ModelWeights,
    readonly buffers: StepBuffers,
    readonly cache: KvCache,
    options: TransformerOptions,
  ) {
    const { maxRows, maxSequences } = options;
    const { paddedHeadDim, heads } = shape;
    const make = (label: string, floatsPerRow: number, rows = maxRows) =>
      gpu.buffers.storage(label, rows * floatsPerRow * 4);
    this.#quads = weights.embedding.columns / 4;
    this.#contextPages = Math.ceil(options.contextLength / PAGE_TOKENS);
    this.#scratch = createAttentionScratch(gpu, shape, maxSequences, this.#contextPages);
    this.#residual = make("residual", this.#quads * 4);
    this.#rowScale = make("row scales", 1);
    this.#query = make("queries", heads * paddedHeadDim);
    this.#attended = make("attention output", shape.outputRowQuads * 4);
    this.#hidden = make("feed-forward", weights.layers[0].down.columns);
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
    this.logits = make("logits", weights.output.rows, maxSequences);
    this.keptLogits = make("kept logits", weights.output.rows, maxSequences);
    this.sampled = make("sampled", 1, maxSequences);
    this.#rope = gpu.buffers.upload(
      "rope",
      ropeTable(config.rope, paddedHeadDim, options.contextLength, weights.ropeFactors),
    );
  }

  #norm(gain: GPUBuffer): NormInput {
    return {
      buffer: this.#residual,
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

  embed(): Promise<KernelCall> {
    return createEmbed(this.gpu, {
      matrix: this.weights.embedding,
      step: this.buffers.step,
      rows: this.buffers.rows,
      lastSampled: this.#lastSampled,
      output: this.#residual,
      quadsPerRow: this.#quads,
    });
  }

  head(): Promise<Linear> {
    const { output, outputNorm } = this.weights;
    return Linear.create(this.gpu, {
      label: "logits",
      step: this.buffers.step,
      matrix: output,
      input: { kind: "sampled", ...this.#norm(outputNorm), samples: this.buffers.samples },
      finish: {
        fragments: ["dense/finish_store"],
        bindings: { output: this.logits },
        constants: { OUTPUT_PAIRS_PER_ROW: output.rows / 2 },
      },
    });
  }

  get #sampling(): Parameters<typeof createSample>[1] {
    return {
      vocabulary: this.config.vocabulary,
      logitsPerRow: this.weights.output.rows,
      buffers: {
        logits: this.logits,
        samples: this.buffers.samples,
        sampled: this.sampled,
        lastSampled: this.#lastSampled,
      },
    };
  }

  adjust(): Promise<KernelCall> {
    return createAdjust(this.gpu, {
      vocabulary: this.config.vocabulary,
      logitsPerRow: this.weights.output.rows,
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
      logitsPerRow: this.weights.output.rows,
      buffers: { sampled, ...this.scoreBuffers },
    });
  }

  async layer(layer: LayerWeights, index: number): Promise<Layer> {
    const attentionBuffers: AttentionBuffers = {
      step: this.buffers,
      query: this.#query,
      keys: this.cache.keys[index],
      values: this.cache.values[index],
      output: this.#attended,
      scratch: this.#scratch,
    };
    const [qkv, attention, output, up, down] = await Promise.all([
      this.#qkv(layer, index),
      Attention.create(this.gpu, this.shape, this.#contextPages, attentionBuffers),
      this.#toResidual("attention output", layer.attentionOutput, this.#attended),
      this.#up(layer),
      this.#toResidual("down", layer.down, this.#hidden),
    ]);
    return { qkv, attention, attentionBuffers, output, up, down };
  }

  #qkv(layer: LayerWeights, index: number): Promise<Linear> {
    const { heads, kvHeads, headDim, paddedHeadDim, kvType } = this.shape;
    return Linear.create(this.gpu, {
      label: "qkv",
      step: this.buffers.step,
      matrix: layer.qkv,
      input: { kind: "norm", ...this.#norm(layer.attentionNorm) },
      finish: {
        fragments: [`attention/kv_store_${kvType}`, "attention/finish_qkv"],
        bindings: {
          query: this.#query,
          key_cache: this.cache.keys[index],
          value_cache: this.cache.values[index],
          rows: this.buffers.rows,
          pages: this.buffers.pages,
          rope: this.#rope,
        },
        constants: {
          HEADS: heads,
          KV_HEADS: kvHeads,
          HEAD_DIM: paddedHeadDim,
          QUERY_SCALE: Math.LOG2E / Math.sqrt(headDim),
        },
        long: true,
      },
    });
  }

  #up(layer: LayerWeights): Promise<Linear> {
    const gated = this.config.feedForward === "swiglu";
    return Linear.create(this.gpu, {
      label: "up",
      step: this.buffers.step,
      matrix: layer.up,
      input: { kind: "norm", ...this.#norm(layer.feedForwardNorm) },
      finish: {
        fragments: [gated ? "dense/finish_swiglu" : "dense/finish_relu2"],
        bindings: { output: this.#hidden },
        constants: { OUTPUT_PAIRS_PER_ROW: gated ? layer.down.columns : layer.down.columns / 2 },
      },
    });
  }

  #toResidual(label: string, matrix: LayerWeights["down"], buffer: GPUBuffer): Promise<Linear> {
    return Linear.create(this.gpu, {
      label,
      step: this.buffers.step,
      matrix,
      input: { kind: "plain", buffer, quadsPerRow: matrix.columns / 4 },
      finish: {
        fragments: ["dense/finish_residual"],
        bindings: { output: this.#residual },
        constants: { OUTPUT_PAIRS_PER_ROW: this.#quads * 2 },
      },
    });
  }
}
