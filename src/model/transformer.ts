import { roundUp } from "../common/math.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { AdjustBuffers, RecordAdjust } from "../kernels/adjust.ts";
import { type AttentionBuffers, type SharedTiles, sharedTiles } from "../kernels/attention.ts";
import type { AttentionShape } from "../kernels/attention_shape.ts";
import { type Linear, MAX_INLINE_NORM_ROWS } from "../kernels/linear.ts";
import type { ScoreBuffers } from "../kernels/score.ts";
import { StepBuffers } from "../kernels/step_buffers.ts";
import { COLUMN_MULTIPLE, type WeightMatrix } from "../kernels/weight_matrix.ts";
import type { ModelConfig } from "./config.ts";
import { KvCache, PAGE_TOKENS } from "./kv_cache.ts";
import { NativeKvCache } from "./native_kv_cache.ts";
import { NativeLayers } from "./native_layers.ts";
import type { PagedCache } from "./paged_cache.ts";
import { RopeTables } from "./rope_tables.ts";
import type { StepAttention } from "./step_attention.ts";
import { type Layer, TransformerBuilder } from "./transformer_builder.ts";
import type { TransformerOptions } from "./transformer_options.ts";
import { loadWeights, paddedHeadDim } from "./weights.ts";

export type { TransformerOptions };

/** What one step holds; its tokens, positions and tables are in `buffers`. */
export interface StepShape {
  /** Tokens, prefill and decode. */
  rows: number;
  /** Decoding sequences: the last rows. */
  decodes: number;
  /** Blocks in `buffers.largeBlocks` and `buffers.smallBlocks`. */
  largeBlocks: number;
  smallBlocks: number;
  /** Rows of those blocks: the first ones. */
  prefillRows: number;
  /** `StepRow` per token: token, slot, position, first entry of its page table. */
  stepRows: Uint32Array<ArrayBuffer>;
  /** What all rows are, for the native library: `StepSpans`. */
  spans: Uint32Array<ArrayBuffer>;
  /** Page tables of the step's sequences, one after the other. */
  pages: Uint32Array<ArrayBuffer>;
  /** Keys that the prefill row with most of them sees. */
  prefillEnd: number;
  /** Rows listed in `buffers.samples`. */
  samples: number;
  /** Blocks in `buffers.sharedBlocks`, by kind: decoding rows that share pages. Default: none. */
  shared?: readonly number[];
}

/** Kernels that a product may leave for later, at most. */
const PREPARE_ROUNDS = 2;

/**
 * A decoder-only transformer on one GPU. Weights and buffers live as long as the device; every bind group is made once, so a step only
 * records dispatches: 5 a layer in decode (QKV + RoPE + cache, attention, output + residual, up + activation, down + residual), 7 when the
 * row norms are worth dispatches of their own; 1 more where query and key heads are normalised, 2 where what layers yield is.
 */
export class Transformer implements Disposable {
  readonly #matrices: readonly WeightMatrix[];
  readonly #rowScales: KernelCall;
  readonly #embed: readonly KernelCall[];
  readonly #head: readonly Linear[];
  readonly #adjust: RecordAdjust;
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
    readonly cache: PagedCache,
    /** What computes the layers in place of shaders, where it does. */
    readonly native: NativeLayers | undefined,
    /** One word per sampled row: its token. */
    readonly sampled: GPUBuffer,
    /** Logits of the sampled rows, `logitsPerRow` apart. */
    readonly logits: GPUBuffer,
    /** Logits from before they were adjusted, of steps that need them. */
    readonly keptLogits: GPUBuffer,
    readonly logitsPerRow: number,
    /** What the layers of the latest step left, f32 `[row][width, padded]`; empty where `native` has it. */
    readonly residual: GPUBuffer,
    /** Gains of the norm that hidden states go through last. */
    readonly outputGains: Float32Array,
    /** Pages of the longest sequence. */
    readonly contextPages: number,
    /** What changes logits before a token is sampled. */
    readonly adjustBuffers: Omit<AdjustBuffers, "logits" | "lastSampled">,
    /** What is scored, and the scores. */
    readonly scoreBuffers: Pick<ScoreBuffers, "scored" | "scores">,
    /** How decoding rows that share pages may be put together. */
    readonly sharedTiles: SharedTiles,
    matrices: readonly WeightMatrix[],
    calls: {
      scales: KernelCall;
      embed: readonly KernelCall[];
      head: readonly Linear[];
      adjust: RecordAdjust;
      sample: KernelCall;
      score: (logits: GPUBuffer) => KernelCall;
      layers: Layer[];
    },
  ) {
    this.#matrices = matrices;
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
    const { nativeLayers = false, kvType, maxRows, maxSequences } = options;
    const isNative = nativeLayers && kvType === "f16";
    const weights = loadWeights(gpu, file, config, options.onProgress, isNative);
    const shape: AttentionShape = {
      heads: config.heads,
      kvHeads: config.kvHeads,
      headDim: config.headDim,
      paddedHeadDim: paddedHeadDim(config.headDim),
      outputRowQuads: roundUp(config.heads * config.headDim, COLUMN_MULTIPLE) / 4,
      kvType: options.kvType,
    };
    const gpuCache = isNative ? undefined : new KvCache(gpu, shape, config.layers, options.pages);
    const pagesPerSequence = Math.ceil(options.contextLength / PAGE_TOKENS);
    const buffers = new StepBuffers(
      gpu,
      options.maxRows,
      options.maxSequences,
      options.maxSequences * pagesPerSequence,
    );
    const ropes = new RopeTables(config, shape.paddedHeadDim, options.contextLength, weights);
    const build = new TransformerBuilder(
      gpu,
      config,
      shape,
      weights,
      buffers,
      gpuCache,
      options,
      ropes,
    );
    const native = isNative
      ? new NativeLayers(
        gpu,
        config,
        shape,
        weights,
        new NativeKvCache(shape, config.layers, options.pages),
        ropes,
        { maxRows, maxSequences },
      )
      : undefined;
    const [scales, embed, head, adjust, sample, score, layers] = await Promise.all([
      build.rowScales(),
      native ? [] : build.embed(),
      native ? [] : build.head(),
      build.adjust(),
      build.sample(),
      build.score(),
      gpuCache
        ? Promise.all(weights.layers.map((layer, index) => build.layer(layer, index, gpuCache)))
        : [],
    ]);
    gpu.check();
    const tiles = sharedTiles(gpu, shape, pagesPerSequence);
    return new Transformer(
      gpu,
      config,
      shape,
      buffers,
      native?.cache ?? gpuCache!,
      native,
      build.sampled,
      build.logits,
      build.keptLogits,
      build.logitsPerRow,
      build.residual,
      weights.outputGains,
      pagesPerSequence,
      build.adjustBuffers,
      build.scoreBuffers,
      options.sharedAttention === false || native ? { ...tiles, rows: [] } : tiles,
      [
        ...weights.embedding,
        ...weights.output,
        ...weights.layers.flatMap(({ qkv, attentionOutput, up, down }) => [
          qkv,
          attentionOutput,
          up,
          down,
        ]),
      ],
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

  /** Bytes of weights, keys and values in CPU memory, of which the system gives those that were written. */
  get cpuBytes(): number {
    if (!this.native) return 0;
    return new Set(this.#matrices).values().reduce(
      (sum, { nativeBytes }) => sum + nativeBytes,
      this.cache.bytes,
    );
  }

  /** Frees what the native library holds of the weights, which no device's end does. Idempotent. */
  [Symbol.dispose](): void {
    this.native?.[Symbol.dispose]();
    for (const { native } of this.#matrices) native?.[Symbol.dispose]();
  }

  /**
   * Compiles the next kernel that steps can do without: it makes some steps faster and changes no result.
   * @returns undefined when there is none left
   */
  async prepare(): Promise<KernelCall | undefined> {
    const products = [
      ...this.#layers.flatMap((
        { qkv, up, output, down },
      ) => [qkv, up, output, down]),
      ...this.#head,
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
    const { heads, kvHeads } = this.shape;
    const storedNorm = rows > this.#inlineNormRows;
    const scalesFor = (product: Linear) => {
      if (storedNorm && !product.findsRowScales(step)) pass.dispatch(this.#rowScales, [rows]);
    };
    for (const embed of this.#embed) pass.dispatch(embed, [rows]);
    this.native?.record(pass, step, attention);
    for (const [index, layer] of this.#layers.entries()) {
      scalesFor(layer.qkv);
      layer.qkv.record(pass, step);
      if (layer.headNorm) pass.dispatch(layer.headNorm, [rows, heads + 2 * kvHeads]);
      if (attention) {
        pass = attention.attend(pass, index, step, layer.attention);
      } else layer.attention.record(pass, step);
      layer.output.record(pass, step);
      if (layer.postNorms) pass.dispatch(layer.postNorms.attention, [rows]);
      scalesFor(layer.up);
      layer.up.record(pass, step);
      layer.down.record(pass, step);
      if (layer.postNorms) pass.dispatch(layer.postNorms.feedForward, [rows]);
    }
    this.recordLogits(pass, rows, samples);
    attention?.complete();
    return pass;
  }

  /**
   * Records the logits of the `samples` rows listed in `buffers.samples`, of the `rows` of the step whose layers came last. `record` does it for
   * a step's own list.
   */
  recordLogits(pass: StepPass, rows: number, samples: number): void {
    if (samples === 0) return;
    if (this.native) {
      const sampled = this.buffers.sampledRows.subarray(0, samples);
      return this.native.writeLogits(sampled, this.logits, this.logitsPerRow);
    }
    // The lanes family always computes these norms inside: a few rows at most.
    if (this.#inlineNormRows === 0) pass.dispatch(this.#rowScales, [rows]);
    for (const head of this.#head) head.record(pass, { rows: samples, decodes: 0 });
  }

  /** Records a copy of the first `samples` rows of logits, for scores of what they were before they are adjusted. */
  recordKeep(pass: StepPass, samples: number): void {
    pass.copy(this.logits, 0, this.keptLogits, 0, samples * this.logitsPerRow * 4);
  }

  /** Records biases, penalties and masks of the first `rows` rows in `adjustBuffers.adjusted`. */
  recordAdjust(pass: StepPass, rows: number): void {
    if (rows > 0) this.#adjust(pass, rows);
  }

  /** Records the choice of a token for each listed row; its slot keeps it for the next step, but see `tellSampled`. */
  recordSample(pass: StepPass, samples: number): void {
    this.native?.awaitSampled();
    pass.dispatch(this.#sample, [samples]);
  }

  /** Says what a step sampled, in the order of its list: before another step is recorded, since layers in CPU memory do not see it. */
  tellSampled(tokens: Uint32Array): void {
    this.native?.tellSampled(this.buffers.sampledSlots, tokens);
  }

  /** Records the log probabilities of the first `count` rows in `scoreBuffers.scored`, by the logits as they are or as they were `kept`. */
  recordScore(pass: StepPass, count: number, kept = false): void {
    pass.dispatch(kept ? this.#scoreKept : this.#score, [count]);
  }
}
