import { packRows, packStep } from "../../src/engine/pack_step.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { PageCopy, StepRow } from "../../src/engine/step.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { Readback } from "../../src/gpu/readback.ts";
import type { KvType } from "../../src/kernels/attention_shape.ts";
import { readModelConfig } from "../../src/model/config.ts";
import { PAGE_TOKENS } from "../../src/model/kv_cache.ts";
import { Transformer } from "../../src/model/transformer.ts";
import type { Activations } from "../../src/model/transformer_options.ts";

/** What a step gave: its sampled rows' tokens and logits. */
export interface StepResult {
  tokens: number[];
  logits: Float32Array[];
  /** Blocks of decoding rows that attended to common pages together. */
  sharedBlocks: number;
}

/** A transformer that a test drives step by step, and whose logits it sees. */
export class ModelUnderTest {
  static readonly maxRows = 256;
  static readonly maxSequences = 80;
  static readonly pages = 96;

  private constructor(
    readonly gpu: Gpu,
    readonly transformer: Transformer,
    readonly readback: Readback,
  ) {}

  static async open(
    gpu: Gpu,
    path: string,
    kvType: KvType,
    contextLength?: number,
    activations?: Activations,
    nativeLayers?: boolean,
  ): Promise<ModelUnderTest> {
    using file = GgufFile.open(path);
    return await ModelUnderTest.load(
      gpu,
      file,
      kvType,
      contextLength,
      activations,
      nativeLayers,
    );
  }

  static async load(
    gpu: Gpu,
    file: GgufFile,
    kvType: KvType,
    contextLength?: number,
    activations?: Activations,
    nativeLayers?: boolean,
  ): Promise<ModelUnderTest> {
    const transformer = await Transformer.create(gpu, file, readModelConfig(file), {
      pages: ModelUnderTest.pages,
      maxRows: ModelUnderTest.maxRows,
      maxSequences: ModelUnderTest.maxSequences,
      contextLength: contextLength ?? 512,
      kvType,
      activations,
      nativeLayers,
    });
    while (await transformer.prepare());
    const readback = await Readback.open(gpu, transformer.logits.size, 2);
    return new ModelUnderTest(gpu, transformer, readback);
  }

  /**
   * Runs one step.
   * @param everyRow give the logits of every row, prefill rows first, instead of those sampled
   */
  step(
    rows: StepRow[],
    { copies = [], everyRow = false }: { copies?: PageCopy[]; everyRow?: boolean } = {},
  ): StepResult {
    const { gpu, transformer, readback } = this;
    const count = rows.reduce((sum, row) => sum + Math.max(1, row.tokens.length), 0);
    const pass = new StepPass(gpu);
    for (const { from, to } of copies) transformer.cache.recordCopy(pass, from, to);
    const step = packStep(gpu, transformer, rows, ModelUnderTest.maxRows);
    if (everyRow) {
      step.samples = count;
      transformer.buffers.writeSamples(packRows([...new Array(count).keys()]));
      const { decodes, prefillEnd } = step;
      transformer.buffers.writeCounts({ rows: count, samples: count, decodes, prefillEnd });
    }
    transformer.record(pass, step);
    if (!everyRow) transformer.recordSample(pass, step.samples);
    const bytes = Math.max(1, step.samples) * 4;
    readback.record(pass, transformer.logits, 0, bytes * transformer.logitsPerRow);
    readback.record(pass, transformer.sampled, 0, bytes);
    pass.submit();
    const logits = new Float32Array(readback.read());
    const tokens = new Uint32Array(readback.read());
    if (!everyRow) transformer.tellSampled(tokens);
    const row = (i: number) =>
      logits.slice(i * transformer.logitsPerRow, i * transformer.logitsPerRow + this.vocabulary);
    return {
      tokens: Array.from(tokens.subarray(0, step.samples)),
      logits: Array.from({ length: step.samples }, (_, i) => row(i)),
      sharedBlocks: step.shared?.reduce((sum, count) => sum + count, 0) ?? 0,
    };
  }

  /** Waits for the mappings of many steps to settle: see `gpuTest`. */
  async settle(): Promise<void> {
    await this.gpu.device.queue.onSubmittedWorkDone();
    await new Promise((resolve) => setTimeout(resolve, 250));
  }

  get vocabulary(): number {
    return this.transformer.config.vocabulary;
  }

  /** Fills pages, keys and values of every layer, with a byte. */
  fillPages(pages: readonly number[], byte: number): void {
    const { cache, config } = this.transformer;
    const filled = new Uint8Array(cache.pageBytes).fill(byte);
    for (let layer = 0; layer < config.layers; layer++) {
      for (const page of pages) cache.writePages(layer, page, filled, filled);
    }
  }
}

/** A sequence's place in the cache, and the rows that continue it. */
export class TestSequence {
  position = 0;
  sampled = 0;

  constructor(readonly slot: number, readonly pages: readonly number[]) {}

  /** The next tokens of a prompt. */
  prefill(tokens: ArrayLike<number>, sample = true): StepRow {
    return this.#row(Uint32Array.from(tokens), sample);
  }

  /** The token that the slot sampled last. */
  decode(): StepRow {
    return this.#row(new Uint32Array(0), true);
  }

  #row(tokens: Uint32Array, sample: boolean): StepRow {
    const position = this.position;
    this.position += Math.max(1, tokens.length);
    return {
      slot: this.slot,
      tokens,
      position,
      pages: this.pages.slice(0, Math.ceil(this.position / PAGE_TOKENS)),
      sample,
      sampling: greedy,
      sampleIndex: sample ? this.sampled++ : this.sampled,
      decode: { kind: "dense" },
    };
  }
}
