import { median } from "../../../src/common/math.ts";
import { Rng } from "../../../src/common/rng.ts";
import { packStep } from "../../../src/engine/pack_step.ts";
import type { StepRow } from "../../../src/engine/step.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";
import { f16ToNumber, numberToF16 } from "../../../src/formats/f16.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { StepPass } from "../../../src/gpu/pass.ts";
import { Readback } from "../../../src/gpu/readback.ts";
import { readModelConfig } from "../../../src/model/config.ts";
import { PAGE_TOKENS } from "../../../src/model/kv_cache.ts";
import { nativeLayersPay } from "../../../src/model/native_layers_pay.ts";
import { Transformer } from "../../../src/model/transformer.ts";
import type { RetrievalPolicy } from "../../../src/retrieval/policy.ts";
import { RetrievalAttention } from "../../../src/retrieval/retrieval_attention.ts";
import type { RetrievalLoad } from "../../../src/retrieval/retrieval_load.ts";
import { dumpedPages } from "./dumped_cache.ts";

/** What decoding at one length took. */
export interface LongDecode {
  denseMs: number;
  retrievalMs: number;
  /** Mean relative L2 difference of the logits, over the tokens that continue the same text. */
  logitsError: number;
  compared: number;
  buildSeconds: number;
  load: RetrievalLoad;
}

const MAX_ROWS = 512;
/** Tokens read for real before those that are made. */
const REAL_TOKENS = 2048;
/**
 * The first of them stay first and come once: every head looks at the first tokens of a text (its attention sink), and copies of those all
 * over a context would have it look there at all of them, as it does in no real text. They stay on the GPU when streams retrieve.
 */
const FIRST_TOKENS = 128;
/** Tokens read at the end, whose queries the index is built from. */
export const FRESH_TOKENS = 512;
const SEQUENCES = 4;
/** Tokens decoded after a context at most, those included that pass until its index is built. */
const ROOM = 1024;

/**
 * A model whose cache is filled without prefill: from the dump of a text, or by pages of one that was read, all but the first over and over, keys
 * and values with noise of half their own spread so that none comes twice. Dense and retrieving sequences share these pages and decode side by side.
 */
export class LongContext implements AsyncDisposable {
  #lengths = 0;
  /** Whether pages are those of one text, each at its own place. */
  #dumped = false;
  #retrieval: RetrievalAttention;

  private constructor(
    readonly gpu: Gpu,
    readonly transformer: Transformer,
    retrieval: RetrievalAttention,
    readonly readback: Readback,
    readonly contextLength: number,
  ) {
    this.#retrieval = retrieval;
  }

  static async open(path: string, contextLength: number): Promise<LongContext> {
    const gpu = await Gpu.open();
    using file = GgufFile.open(path);
    const transformer = await Transformer.create(gpu, file, readModelConfig(file), {
      pages: Math.ceil(contextLength / PAGE_TOKENS) + 2 * SEQUENCES * (FRESH_TOKENS / PAGE_TOKENS),
      maxRows: MAX_ROWS,
      maxSequences: SEQUENCES,
      // Decoding goes on past the longest context: positions without a rotation would make queries of zeros.
      contextLength: contextLength + ROOM,
      kvType: "f16",
      nativeLayers: nativeLayersPay(gpu),
    });
    const retrieval = await openRetrieval(gpu, transformer);
    const readback = await Readback.open(gpu, transformer.logits.size, 2);
    return new LongContext(gpu, transformer, retrieval, readback, contextLength);
  }

  /** Reads `tokens` for real and fills the pages of `contextLength` tokens from theirs. */
  async fill(tokens: Uint32Array): Promise<void> {
    const pages = Array.from({ length: REAL_TOKENS / PAGE_TOKENS }, (_, i) => i);
    for (let at = 0; at < REAL_TOKENS; at += MAX_ROWS) {
      this.#step([row(0, tokens.subarray(at, at + MAX_ROWS), at, pages, { kind: "dense" })]);
    }
    const { transformer: { cache, config, shape } } = this;
    const total = Math.ceil(this.contextLength / PAGE_TOKENS);
    const repeated = pages.length - FIRST_TOKENS / PAGE_TOKENS;
    const rng = new Rng(1);
    const noise = rng.normals(1 << 16, 0.5);
    for (let layer = 0; layer < config.layers; layer++) {
      const { keys, values } = await cache.readPages(layer, pages.length - repeated, repeated);
      const noisy = [keys, values].map((bytes) => {
        const real = new Uint16Array(bytes);
        const spread = spreads(real, shape.paddedHeadDim);
        const wide = Float32Array.from(real, (bits) => f16ToNumber(bits));
        return (length: number, shift: number) => {
          const part = new Uint16Array(length);
          for (let i = 0; i < length; i++) {
            const scale = spread[i % shape.paddedHeadDim];
            part[i] = numberToF16(wide[i] + scale * noise[(i * 7 + shift) & 0xffff]);
          }
          return new Uint8Array(part.buffer);
        };
      });
      for (let page = pages.length; page < total; page += repeated) {
        const length = Math.min(repeated, total - page) * cache.pageBytes / 2;
        const [some, others] = noisy.map((make) => make(length, rng.integer(1 << 16)));
        cache.writePages(layer, page, some, others);
      }
    }
  }

  /** Fills all pages with keys and values that `dump_qk.py` or `dump:qk` wrote to `folder`. Reads a file for each layer and kind. */
  load(folder: string): void {
    const { transformer: { cache, config, shape } } = this;
    const pages = Math.floor(this.contextLength / PAGE_TOKENS);
    for (let layer = 0; layer < config.layers; layer++) {
      const [keys, values] = (["k", "v"] as const).map((part) =>
        new Uint8Array(dumpedPages(folder, layer, part, pages, shape).buffer)
      );
      cache.writePages(layer, 0, keys, values);
    }
    this.#dumped = true;
  }

  /** Decodes `count` tokens at `length` tokens of context, whose last 512 are those of `fresh`, dense and retrieving in turn. */
  async decode(length: number, count: number, fresh: Uint32Array): Promise<LongDecode> {
    if (this.#dumped && this.#lengths > 0) {
      // A text that goes on where an earlier one ended would go on from its index, too.
      await this.#retrieval[Symbol.asyncDispose]();
      this.#retrieval = await openRetrieval(this.gpu, this.transformer);
    }
    const shared = Math.floor((length - FRESH_TOKENS) / PAGE_TOKENS);
    const prompt = shared * PAGE_TOKENS + FRESH_TOKENS;
    const total = Math.ceil(this.contextLength / PAGE_TOKENS);
    const own = FRESH_TOKENS / PAGE_TOKENS * 2;
    // Another page after the first ones each time: a prompt that began like an earlier one would go on from its index.
    const number = this.#lengths++;
    const shift = this.#dumped ? 0 : number;
    const first = FIRST_TOKENS / PAGE_TOKENS;
    const table = (slot: number) => [
      ...Array.from({ length: first }, (_, i) => i),
      ...Array.from({ length: shared - first }, (_, i) => first + (i + shift) % (shared - first)),
      ...Array.from({ length: own }, (_, i) => total + slot * own + i),
    ];
    const policies: RetrievalPolicy[] = [{ kind: "dense" }, { kind: "retrieval" }];
    const tail = fresh.subarray(0, FRESH_TOKENS);
    let start = performance.now();
    let buildSeconds = 0;
    policies.forEach((decode, slot) => {
      start = performance.now();
      this.#step([{
        ...row(slot, tail, shared * PAGE_TOKENS, table(slot), decode),
        promptTokens: prompt,
      }]);
      buildSeconds = (performance.now() - start) / 1000;
    });
    let position = prompt;
    const decodeRow = (slot: number): StepRow => ({
      ...row(slot, new Uint32Array(0), position, table(slot), policies[slot]),
      promptTokens: prompt,
    });
    const retrieval = this.#retrieval;
    // The pages of a long cached prompt move a part in each step; the index is built after the last.
    while (retrieval.load.ready === 0) {
      start = performance.now();
      this.#step([decodeRow(0)]);
      this.#step([decodeRow(1)]);
      buildSeconds = (performance.now() - start) / 1000;
      position++;
      if (position > prompt + 200) throw new Error("bench retrieval: no index after 200 steps");
    }
    if (position + count > this.contextLength + ROOM) {
      throw new RangeError(`bench retrieval: ${count} tokens at ${position} go past all positions`);
    }
    const times: [number[], number[]] = [[], []];
    let error = 0;
    let agreed = 0;
    // From the first token that differs on, the two continue different texts.
    let together = true;
    for (let i = 0; i < count; i++, position++) {
      const results = [0, 1].map((slot) => {
        const start = performance.now();
        const logits = this.#step([decodeRow(slot)]);
        times[slot].push(performance.now() - start);
        return logits;
      });
      if (!together) continue;
      error += distance(results[1], results[0]);
      agreed++;
      together = best(results[0]) === best(results[1]);
    }
    const { load } = retrieval;
    for (const slot of [0, 1]) retrieval.leave(slot);
    retrieval.takeVacant();
    return {
      denseMs: median(times[0]),
      retrievalMs: median(times[1]),
      logitsError: error / agreed,
      compared: agreed,
      buildSeconds,
      load,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#retrieval[Symbol.asyncDispose]();
    this.readback.dispose();
    this.gpu.dispose();
  }

  /** Runs a step of one row; returns its last token's logits. */
  #step(rows: StepRow[]): Float32Array {
    const { gpu, transformer, readback } = this;
    const retrieval = this.#retrieval;
    const windows = retrieval.begin(rows);
    const windowed = windows && { windows, buffer: retrieval.windowRows };
    const step = packStep(gpu, transformer, rows, MAX_ROWS, windowed);
    const pass = transformer.record(new StepPass(gpu), step, windows && retrieval);
    transformer.recordSample(pass, step.samples);
    readback.record(pass, transformer.logits, 0, transformer.logitsPerRow * 4);
    readback.record(pass, transformer.sampled, 0, 4);
    pass.submit();
    const logits = new Float32Array(readback.read());
    transformer.tellSampled(new Uint32Array(readback.read()));
    retrieval.finish(rows);
    return logits.subarray(0, transformer.config.vocabulary);
  }
}

function openRetrieval(gpu: Gpu, transformer: Transformer): Promise<RetrievalAttention> {
  return RetrievalAttention.open(gpu, transformer, { waitForIndex: true });
}

function row(
  slot: number,
  tokens: Uint32Array,
  position: number,
  pages: number[],
  decode: RetrievalPolicy,
): StepRow {
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };
  return { slot, tokens, position, pages, sample: true, sampling, sampleIndex: 0, decode };
}

/** Standard deviation of each dimension. */
function spreads(bits: Uint16Array, dim: number): Float32Array {
  const sum = new Float64Array(dim);
  const squares = new Float64Array(dim);
  bits.forEach((half, i) => {
    const x = f16ToNumber(half);
    sum[i % dim] += x;
    squares[i % dim] += x * x;
  });
  const count = bits.length / dim;
  return Float32Array.from(
    sum,
    (total, i) => Math.sqrt(Math.max(0, squares[i] / count - (total / count) ** 2)),
  );
}

function distance(found: Float32Array, wanted: Float32Array): number {
  let difference = 0;
  let norm = 0;
  wanted.forEach((x, i) => {
    difference += (found[i] - x) ** 2;
    norm += x * x;
  });
  return Math.sqrt(difference / norm);
}

function best(logits: Float32Array): number {
  return logits.indexOf(logits.reduce((top, x) => Math.max(top, x)));
}
