import type { DeviceLostError } from "../common/errors.ts";
import { roundUp } from "../common/math.ts";
import { GgufFile } from "../formats/gguf.ts";
import { Gpu } from "../gpu/gpu.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { SMALL_BLOCK_ROWS } from "../kernels/attention.ts";
import type { KvType } from "../kernels/attention_shape.ts";
import { nativeLayersPay } from "../model/native_layers_pay.ts";
import { type ModelConfig, readModelConfig } from "../model/config.ts";
import { pageBytes } from "../model/kv_cache.ts";
import { Transformer } from "../model/transformer.ts";
import type { Activations } from "../model/transformer_options.ts";
import { paddedHeadDim } from "../model/weights.ts";
import { openRetrieval } from "../retrieval/open_retrieval.ts";
import type { RetrievalAttention } from "../retrieval/retrieval_attention.ts";
import type { RetrievalOptions } from "../retrieval/retrieval_options.ts";
import type { RetrievalLoad } from "../retrieval/retrieval_load.ts";
import type { VacantPages } from "../retrieval/vacant_pages.ts";
import { checkSizes } from "./check_sizes.ts";
import { HiddenStates } from "./hidden_states.ts";
import { mixedStepTokens } from "./mixed_step_tokens.ts";
import { packStep } from "./pack_step.ts";
import { greedy } from "./sampling_defaults.ts";
import { NOT_FINITE, PAGE_TOKENS, type StepBatch, type StepRow, type StepRunner } from "./step.ts";
import { TokenAdjustments } from "./token_adjustments.ts";
import type { DecodePolicy } from "./types.ts";
import { type ScorePlan, TokenScorer } from "./token_scorer.ts";
import { TokenScores } from "./token_scores.ts";

/** How a model is run. Every size has a default that fits the adapter. */
export interface RunnerOptions {
  /** Most sequences in flight. Default 32 on software adapters, 64 on GPUs. */
  maxSequences?: number;
  /** Most tokens in a step, more than `maxSequences`. Default 512, or twice `maxSequences` if that is more: larger steps delay decoding sequences, smaller ones waste tiles. */
  maxBatchTokens?: number;
  /** Longest context; default the model's own, or what the KV memory holds if that is less. */
  contextLength?: number;
  /** Tokens that the KV pages hold in all. Default: one full context on software adapters, two on GPUs, at least 32,768, within `maxKvBytes`. */
  kvTokens?: number;
  /** Default 1 GiB on software adapters, 8 GiB on GPUs. */
  maxKvBytes?: number;
  /** Element type of cached keys and values. Default f16. */
  kvType?: KvType;
  /**
   * Decoding over contexts in CPU memory: its window, and from what length on `auto` takes it. `false` leaves it out: all decoding is
   * dense then. So it is without the native library, and with keys and values in f32.
   */
  retrieval?: RetrievalOptions | false;
  /**
   * Let decoding rows that share pages attend to them together, where the measured costs say that it is faster; their text is the same
   * either way. Where layers are native they do in any case. Default: on software adapters. On a real GPU a short prefix of a small model stays in its cache however often it is read:
   * on an H200 (sparrow-tiny, 6K tokens) 8 rows took 0.91 and 32 rows 1.39 of the time of each row by itself.
   */
  sharedAttention?: boolean;
  /**
   * What quantised weights are multiplied with. Default: "int8" on NVIDIA's GPUs, which multiply bytes fast, "f32" elsewhere. On an H200 (Llama 3
   * 8B's shape, Q8_0) prompts take half the time with bytes, and so does the decode of 64 sequences; see ARCHITECTURE.md for what they cost in accuracy.
   */
  activations?: Activations;
  /** Whether layers and logits are left to the native library. Default: on software adapters, where it is faster; never with keys and values in f32. */
  nativeLayers?: boolean;
  /** Leave kernels that only make some steps faster to `prepare`. Default false. */
  prepareLater?: boolean;
  /** Told of each part of the model that is loaded: parts done, and of how many. */
  onProgress?: (done: number, total: number) => void;
}

const MIN_KV_TOKENS = 32768;
/** Pages that warming up shares: enough for a few rows to gain by it. */
const WARM_UP_PAGES = 48;

/** Milliseconds within which `prepare` goes on to another kernel: most are those of an earlier layer with other weights. */
const PREPARE_MS = 10;

/** Runs steps of one model on one device. Owns both. */
export class GpuStepRunner implements StepRunner {
  readonly pageTokens = PAGE_TOKENS;
  readonly pipelineDepth = 1;
  readonly maxSequences: number;
  readonly maxBatchTokens: number;
  readonly pagesTotal: number;
  readonly contextLength: number;
  readonly mixedStepTokens: number;
  readonly #gpu: Gpu;
  readonly #transformer: Transformer;
  readonly #readback: Readback;
  readonly #retrieval: RetrievalAttention | undefined;
  readonly #adjustments: TokenAdjustments;
  readonly #scorer: TokenScorer;
  readonly #hiddenStates: HiddenStates;
  readonly #inFlight: { rows: StepRow[]; scores: ScorePlan | undefined }[] = [];

  private constructor(
    gpu: Gpu,
    transformer: Transformer,
    readback: Readback,
    scorer: TokenScorer,
    hiddenStates: HiddenStates,
    retrieval: RetrievalAttention | undefined,
    sizes: {
      maxSequences: number;
      maxBatchTokens: number;
      pagesTotal: number;
      contextLength: number;
    },
  ) {
    this.#gpu = gpu;
    this.#transformer = transformer;
    this.#readback = readback;
    this.#scorer = scorer;
    this.#hiddenStates = hiddenStates;
    this.#retrieval = retrieval;
    this.#adjustments = new TokenAdjustments(
      gpu,
      transformer.adjustBuffers,
      transformer.config.vocabulary,
    );
    this.maxSequences = sizes.maxSequences;
    this.maxBatchTokens = sizes.maxBatchTokens;
    this.pagesTotal = sizes.pagesTotal;
    this.contextLength = sizes.contextLength;
    this.mixedStepTokens = mixedStepTokens(gpu.adapterClass);
  }

  /** Opens the default device, or takes over `gpu`, and loads the model at `path`. */
  static async open(path: string, options?: RunnerOptions, gpu?: Gpu): Promise<GpuStepRunner> {
    using file = GgufFile.open(path);
    return await GpuStepRunner.load(file, options, gpu);
  }

  /**
   * Loads a model from an open file; the file may be closed afterwards.
   * @throws `ModelFormatError` for a bad file, `OutOfMemoryError` when it does not fit, `RangeError` for an option out of range.
   */
  static async load(
    file: GgufFile,
    options?: RunnerOptions,
    device?: Gpu,
  ): Promise<GpuStepRunner> {
    options ??= {};
    checkSizes(options);
    const config = readModelConfig(file);
    const gpu = device ?? await Gpu.open();
    try {
      const kvType = options.kvType ?? "f16";
      const nativeLayers = kvType === "f16" && (options.nativeLayers ?? nativeLayersPay(gpu));
      const sizes = planSizes(gpu, config, options, nativeLayers ? Infinity : gpu.buffers.largest);
      const transformer = await Transformer.create(gpu, file, config, {
        pages: sizes.pagesTotal,
        maxRows: sizes.maxBatchTokens,
        maxSequences: sizes.maxSequences,
        contextLength: sizes.contextLength,
        kvType,
        sharedAttention: options.sharedAttention ?? gpu.kernels === "lanes",
        activations: options.activations ?? (gpu.byteProducts ? "int8" : "f32"),
        nativeLayers,
        onProgress: options.onProgress,
      });
      const [readback, scorer, hiddenStates] = await Promise.all([
        Readback.open(gpu, sizes.maxSequences * 4),
        TokenScorer.open(gpu, transformer),
        HiddenStates.open(gpu, transformer),
      ]);
      const retrieval = options.retrieval === false
        ? undefined
        : await openRetrieval(gpu, transformer, options.retrieval ?? {});
      const runner = new GpuStepRunner(
        gpu,
        transformer,
        readback,
        scorer,
        hiddenStates,
        retrieval,
        sizes,
      );
      runner.#warmUp();
      if (!options.prepareLater) { while (await runner.prepare()); }
      return runner;
    } catch (error) {
      gpu.dispose();
      throw error;
    }
  }

  get gpuBytes(): number {
    return this.#gpu.buffers.bytes;
  }

  get cpuBytes(): number {
    return this.#transformer.cpuBytes;
  }

  get retrieval(): RetrievalLoad | undefined {
    return this.#retrieval?.load;
  }

  get loss(): Promise<DeviceLostError> {
    return this.#gpu.lost;
  }

  get embedding(): NonNullable<StepRunner["embedding"]> {
    const { width, pooling } = this.config;
    return { width, pooling };
  }

  /** The model's shape. */
  get config(): ModelConfig {
    return this.#transformer.config;
  }

  /** Adapter name, for people. */
  get device(): string {
    return this.#gpu.description;
  }

  /**
   * Runs every kind of step once on pages that nobody holds yet. Drivers compile at the first dispatch: with an empty cache that takes
   * software Vulkan some ten seconds, which belong to loading and not to somebody's first request.
   */
  #warmUp(): void {
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, presencePenalty: 1 };
    const longest = Math.min(this.maxBatchTokens, this.contextLength, PAGE_TOKENS) - 1;
    // Rows that share so many pages that they attend to them together, in blocks of every kind.
    const sharing = this.#transformer.sharedTiles.rows.reduce((sum, rows) => sum + rows, 0);
    const pages = Math.min(WARM_UP_PAGES, Math.floor(this.contextLength / PAGE_TOKENS) - 1);
    // Sequences × tokens after pages; no tokens are a decode. Products have kernels for up to 1, 8 and 16 rows (and others by `prepare`),
    // prefill for short and tall blocks.
    for (
      const [sequences, count, before] of [
        [1, 0, 0],
        [8, 0, 0],
        [16, 0, 0],
        [1, SMALL_BLOCK_ROWS, 0],
        [1, longest, 0],
        [sharing, 0, Math.max(0, pages)],
      ]
    ) {
      if (sequences === 0) continue;
      const tokens = new Uint32Array(count);
      const rows = Array.from(
        { length: Math.min(sequences, this.maxSequences) },
        (_, slot): StepRow => ({
          slot,
          tokens,
          position: before * PAGE_TOKENS,
          pages: new Array(before + 1).fill(0),
          sample: true,
          sampling,
          sampleIndex: 0,
          decode: { kind: "dense" },
          scores: new TokenScores({ top: 1, prompt: false }),
        }),
      );
      this.submit({ rows, copies: [] });
      this.collect();
      for (const { slot } of rows) this.#adjustments.leave(slot);
    }
  }

  async prepare(): Promise<boolean> {
    const began = performance.now();
    do {
      const call = await this.#transformer.prepare();
      if (!call) return false;
      // A step without rows: nothing is written, and the driver compiles.
      this.#transformer.buffers.writeCounts({ rows: 0, samples: 0, decodes: 0 });
      const pass = new StepPass(this.#gpu);
      pass.dispatch(call, [1]);
      this.#readback.record(pass, this.#transformer.sampled, 0, 4);
      pass.submit();
      this.#readback.read();
    } while (performance.now() - began < PREPARE_MS);
    return true;
  }

  submit(batch: StepBatch): void {
    this.#gpu.check();
    let pass = new StepPass(this.#gpu);
    for (const { from, to } of batch.copies) this.#transformer.cache.recordCopy(pass, from, to);
    const retrieval = this.#retrieval;
    const windows = retrieval?.begin(batch.rows);
    const step = packStep(
      this.#gpu,
      this.#transformer,
      batch.rows,
      this.maxBatchTokens,
      retrieval && windows && { windows, buffer: retrieval.windowRows },
    );
    pass = this.#transformer.record(pass, step, windows && retrieval);
    if (batch.rows.some((row) => row.sample && row.constraint)) {
      // Masks take the processor's time, not the device's: it is at work on the logits meanwhile.
      pass.submit();
      pass = new StepPass(this.#gpu);
    }
    const adjusted = this.#adjustments.prepare(batch.rows);
    const scores = this.#scorer.begin(pass, batch.rows, adjusted);
    this.#transformer.recordAdjust(pass, adjusted);
    this.#transformer.recordSample(pass, step.samples);
    if (scores) this.#scorer.recordSampled(pass, scores);
    // Read at least a word: collecting is also how a step is waited for.
    this.#readback.record(pass, this.#transformer.sampled, 0, Math.max(1, step.samples) * 4);
    pass.submit();
    this.#inFlight.push({ rows: batch.rows, scores });
  }

  collect(): Int32Array {
    const step = this.#inFlight.shift();
    if (!step) throw new Error("collect a step: none was submitted");
    const { rows, scores } = step;
    const sampled = new Uint32Array(this.#readback.read());
    this.#transformer.tellSampled(sampled);
    this.#hiddenStates.collect(rows);
    if (scores) this.#scorer.collect(scores);
    this.#retrieval?.finish(rows);
    let next = 0;
    return Int32Array.from(rows, (row) => {
      if (!row.sample) return -1;
      const token = sampled[next++];
      return token < this.config.vocabulary ? token : NOT_FINITE;
    });
  }

  freshTokens(decode: DecodePolicy, pages: readonly number[], promptTokens: number): number {
    return this.#retrieval?.freshTokens(decode, pages, promptTokens) ?? 1;
  }

  takeVacant(): VacantPages[] {
    return this.#retrieval?.takeVacant() ?? [];
  }

  leave(slot: number): void {
    this.#adjustments.leave(slot);
    this.#retrieval?.leave(slot);
  }

  /**
   * ln p(token | what precedes it) of every token but the first, for measuring a model. The sequence is run alone on pages
   * from 0 on: only for a runner that nothing else uses.
   *
   * @returns `tokens.length - 1` values
   */
  score(tokens: Uint32Array): Float32Array {
    if (tokens.length > this.contextLength) {
      throw new RangeError(
        `score tokens: ${tokens.length} tokens, the context holds ${this.contextLength}`,
      );
    }
    const scores = new TokenScores({ top: 0, prompt: true });
    const pages = Array.from({ length: Math.ceil(tokens.length / PAGE_TOKENS) }, (_, i) => i);
    const ids = Array.from(tokens);
    for (let start = 0; start < tokens.length - 1; start += this.maxBatchTokens) {
      const row: StepRow = {
        slot: 0,
        tokens: tokens.subarray(start, Math.min(start + this.maxBatchTokens, tokens.length - 1)),
        position: start,
        pages,
        sample: false,
        sampling: greedy,
        ids,
        sampleIndex: 0,
        decode: { kind: "dense" },
        scores,
      };
      this.submit({ rows: [row], copies: [] });
      this.collect();
    }
    return Float32Array.from(
      { length: tokens.length - 1 },
      (_, i) => scores.take(i + 1)!.logprob,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#retrieval?.[Symbol.asyncDispose]();
    this.#readback.dispose();
    this.#scorer.dispose();
    this.#hiddenStates.dispose();
    this.#transformer[Symbol.dispose]();
    this.#gpu.dispose();
  }
}

function planSizes(
  gpu: Gpu,
  config: ModelConfig,
  options: RunnerOptions,
  /** Bytes that a layer's keys may have. */
  limit: number,
): { maxSequences: number; maxBatchTokens: number; pagesTotal: number; contextLength: number } {
  const software = gpu.adapterClass === "software";
  const bytes = pageBytes({
    kvHeads: config.kvHeads,
    paddedHeadDim: paddedHeadDim(config.headDim),
    kvType: options.kvType ?? "f16",
  });
  const maxKvBytes = options.maxKvBytes ?? (software ? 1 : 8) * 2 ** 30;
  const maxSequences = options.maxSequences ?? (software ? 32 : 64);
  const maxBatchTokens = roundUp(options.maxBatchTokens ?? Math.max(512, 2 * maxSequences), 32);
  // Rows are workgroups of a dispatch, of which WebGPU takes 65,535.
  if (!(maxBatchTokens > 0 && maxBatchTokens <= 65504)) {
    throw new RangeError(
      `plan a step: maxBatchTokens is ${options.maxBatchTokens}, expected 1 to 65504`,
    );
  }
  if (maxBatchTokens <= maxSequences) {
    throw new RangeError(
      `plan a step: maxBatchTokens (--batch-tokens) is ${maxBatchTokens}, expected more than the ${maxSequences} of ` +
        "maxSequences (--max-sequences)",
    );
  }
  const pageCap = Math.floor(Math.min(limit / bytes, maxKvBytes / (2 * config.layers * bytes)));
  const longest = options.contextLength ?? config.contextLength;
  // Room for a batch of ordinary requests, however short the model's own context.
  const wanted = options.kvTokens ?? Math.max(software ? longest : 2 * longest, MIN_KV_TOKENS);
  const pagesTotal = Math.min(Math.ceil(wanted / PAGE_TOKENS) + 1, pageCap);
  if (options.kvTokens !== undefined && pageCap * PAGE_TOKENS < options.kvTokens) {
    throw new RangeError(
      `plan KV memory: kvTokens is ${options.kvTokens}, at most ${
        pageCap * PAGE_TOKENS
      } fit (${maxKvBytes} bytes in all${limit === Infinity ? "" : `, ${limit} per buffer`})`,
    );
  }
  if (pagesTotal < 1) {
    throw new RangeError(
      `plan KV memory: ${
        Math.min(limit, maxKvBytes)
      } bytes hold no page; one takes ${bytes} bytes in each of ` +
        `${config.layers} layers, twice`,
    );
  }
  const contextLength = Math.min(
    options.contextLength ?? config.contextLength,
    pagesTotal * PAGE_TOKENS,
  );
  if (options.contextLength !== undefined && contextLength < options.contextLength) {
    throw new RangeError(
      `plan KV memory: contextLength is ${options.contextLength}, the KV memory holds ${contextLength} tokens`,
    );
  }
  return {
    maxSequences,
    maxBatchTokens,
    pagesTotal,
    contextLength,
  };
}
