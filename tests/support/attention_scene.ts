import { Rng } from "../../src/common/rng.ts";
import { f16ToNumber, numberToF16 } from "../../src/formats/f16.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { Attention, createAttentionScratch } from "../../src/kernels/attention.ts";
import type { AttentionShape } from "../../src/kernels/attention_shape.ts";
import { StepBuffers } from "../../src/kernels/step_buffers.ts";
import { attentionOracle } from "../oracle/attention.ts";

const PAGE = 64;
/** Pages at least; some are left over for no sequence. */
const LEAST_PAGES = 48;
/** Query rows of a step. */
const MAX_ROWS = 640;

interface TestKeys {
  length: number;
  table: number;
  /** [kv head][position] */
  keys: Float32Array[][];
  values: Float32Array[][];
}

/** One row of queries: which sequence, and its position there. */
export interface SceneRow {
  sequence: number;
  position: number;
}

/** What a step attends to: blocks of successive rows of one sequence, and single rows that decode. */
export interface SceneStep {
  large?: SceneRow[][];
  small?: SceneRow[][];
  decodes?: SceneRow[];
  /** Successive rows of `decodes` that attend together to the first pages of their tables. */
  shared?: SceneBlock[];
  /** Leave prefill rows in one piece each, however few they are. */
  whole?: boolean;
}

/** A block of decoding rows that share pages. */
export interface SceneBlock {
  kind: number;
  /** Index into the step's decoding rows. */
  first: number;
  rows: number;
  pages: number;
}

/** A sequence whose table begins with pages of an earlier one. */
export interface SceneFork {
  of: number;
  pages: number;
}

/** The finite number of f16 that is farthest from 0. */
const MAX_F16 = 65504;

/**
 * Paged keys and values of several sequences. Pages of no sequence are NaN; slots past a sequence's end hold the largest
 * finite numbers, as a recycled page may.
 */
export class AttentionScene {
  readonly #step: StepBuffers;
  readonly #keys: GPUBuffer;
  readonly #values: GPUBuffer;
  readonly #query: GPUBuffer;
  readonly #output: GPUBuffer;
  readonly #sequences: TestKeys[];
  readonly #queries = new Map<string, Float32Array>();
  readonly #rng: Rng;
  /** Dispatches of the last step. */
  dispatches = 0;

  /**
   * @param lengths keys of each sequence
   * @param spread about the standard deviation of scores
   * @param forks by sequence; none by default
   * @param sliding how many of its latest tokens a row sees; default all
   */
  constructor(
    readonly gpu: Gpu,
    readonly shape: AttentionShape,
    readonly lengths: readonly number[],
    readonly spread: number,
    readonly forks?: ReadonlyMap<number, SceneFork>,
    readonly sliding?: number,
  ) {
    this.#rng = new Rng(shape.heads * 1000 + shape.headDim);
    const { kvHeads, paddedHeadDim: padded, kvType } = shape;
    const held = lengths.reduce((sum, length) => sum + Math.ceil(length / PAGE), 0);
    const count = Math.max(LEAST_PAGES, held + 4);
    const size = count * kvHeads * PAGE * padded;
    const free = shuffled(count, this.#rng);
    const tables: number[] = [];
    const cache = {
      keys: new Float32Array(size).fill(NaN),
      values: new Float32Array(size).fill(NaN),
    };
    const sequences: TestKeys[] = [];
    lengths.forEach((length, sequence) => {
      const table = tables.length;
      const fork = forks?.get(sequence);
      const base = fork && sequences[fork.of];
      const common = fork && base ? tables.slice(base.table, base.table + fork.pages) : [];
      const pages = [...common, ...free.splice(0, Math.ceil(length / PAGE) - common.length)];
      // The entry behind a table's end names a page of NaN.
      tables.push(...pages, free.at(-1)!);
      const fill = (array: Float32Array, scale: number, shared?: Float32Array[][]) =>
        Array.from(
          { length: kvHeads },
          (_, head) =>
            Array.from({ length: pages.length * PAGE }, (_, t) => {
              if (shared && t < common.length * PAGE) return shared[head][t];
              const at = ((pages[Math.floor(t / PAGE)] * kvHeads + head) * PAGE + t % PAGE) *
                padded;
              array.fill(0, at, at + padded);
              const row = this.#round(
                t < length
                  ? this.#rng.normals(shape.headDim, scale)
                  : Float32Array.from({ length: shape.headDim }, () =>
                    this.#rng.uniform() < 0.5 ? MAX_F16 : -MAX_F16),
              );
              array.set(row, at);
              return row;
            }),
        );
      sequences.push({
        length,
        table,
        keys: fill(cache.keys, 1, base?.keys),
        values: fill(cache.values, 3, base?.values),
      });
    });
    this.#sequences = sequences;
    const encode = (array: Float32Array<ArrayBuffer>) =>
      kvType === "f32" ? array : Uint16Array.from(array, numberToF16);
    const { buffers } = gpu;
    this.#keys = buffers.upload("keys", encode(cache.keys));
    this.#values = buffers.upload("values", encode(cache.values));
    this.#step = new StepBuffers(gpu, MAX_ROWS, 1, tables.length);
    buffers.write(this.#step.pages, 0, Uint32Array.from(tables));
    this.#query = buffers.storage("queries", MAX_ROWS * shape.heads * padded * 4);
    this.#output = buffers.storage("output", (MAX_ROWS + 2) * shape.outputRowQuads * 16);
  }

  /** The last `count` rows of every sequence, or as many as it has. */
  lastRows(count: number): SceneRow[][] {
    return this.lengths.map((length, sequence) => {
      const rows = Math.min(count, length);
      return Array.from({ length: rows }, (_, i) => ({ sequence, position: length - rows + i }));
    });
  }

  /** Pages of the longest sequence. */
  get contextPages(): number {
    return Math.ceil(Math.max(...this.lengths) / PAGE);
  }

  /** Compiles attention over the scene. */
  attention(): Promise<Attention> {
    const { contextPages } = this;
    const scratch = createAttentionScratch(
      this.gpu,
      this.shape,
      this.lengths.length,
      contextPages,
    );
    for (const buffer of Object.values(scratch)) {
      this.gpu.buffers.write(buffer, 0, new Float32Array(buffer.size / 4).fill(NaN));
    }
    return Attention.create(this.gpu, this.shape, contextPages, {
      step: this.#step,
      query: this.#query,
      keys: this.#keys,
      values: this.#values,
      output: this.#output,
      scratch,
    }, this.sliding);
  }

  /**
   * Runs a step; returns each row's [head · head dimension], blocks first, in order. Fails if anything but these outputs was
   * written.
   */
  async run(
    attention: Attention,
    { large = [], small = [], decodes = [], shared = [], whole = false }: SceneStep,
  ): Promise<Float32Array[]> {
    const { gpu, shape: { heads, headDim, paddedHeadDim, outputRowQuads } } = this;
    const step = this.#step;
    let first = 0;
    const lay = (blocks: SceneRow[][]) =>
      Uint32Array.from(blocks.flatMap((rows) => {
        const { sequence, position } = rows[0];
        const block = [first, rows.length, position, this.#sequences[sequence].table];
        first += rows.length;
        return block;
      }));
    gpu.buffers.write(step.largeBlocks, 0, lay(large));
    gpu.buffers.write(step.smallBlocks, 0, lay(small));
    const rows = [...large.flat(), ...small.flat(), ...decodes];
    const words = rows.flatMap((
      { sequence, position },
    ) => [0, 0, position, this.#sequences[sequence].table]);
    gpu.buffers.write(step.rows, 0, Uint32Array.from(words));
    const counts = this.#writeShared(rows, decodes.length, shared);
    const prefillEnd = [...large, ...small].flat()
      .reduce((end, row) => Math.max(end, row.position + 1), 0);
    step.writeCounts({ rows: rows.length, samples: 0, decodes: decodes.length, prefillEnd });

    // Queries of no row are NaN.
    const query = new Float32Array(this.#query.size / 4).fill(NaN);
    const scale = Math.LOG2E / Math.sqrt(headDim);
    rows.forEach((row, i) => {
      const own = this.#queryOf(row);
      for (let head = 0; head < heads; head++) {
        const at = (i * heads + head) * paddedHeadDim;
        query.fill(0, at, at + paddedHeadDim);
        for (let d = 0; d < headDim; d++) query[at + d] = own[head * headDim + d] * scale;
      }
    });
    gpu.buffers.write(this.#query, 0, query);
    const untouched = Math.fround(12345.678);
    const stride = outputRowQuads * 4;
    const inside = (i: number) => i < rows.length * stride && i % stride < heads * headDim;
    // What a row is to yield must not depend on what was there.
    const before = Float32Array.from(
      { length: this.#output.size / 4 },
      (_, i) => inside(i) ? NaN : untouched,
    );
    gpu.buffers.write(this.#output, 0, before);
    const pass = new StepPass(gpu);
    attention.record(pass, {
      largeBlocks: large.length,
      smallBlocks: small.length,
      prefillRows: rows.length - decodes.length,
      prefillEnd: whole ? 0 : prefillEnd,
      decodes: decodes.length,
      shared: counts,
    });
    this.dispatches = pass.dispatches;
    pass.submit();
    const found = new Float32Array(await readBuffer(gpu, this.#output));
    found.forEach((value, i) => {
      if (!inside(i) && value !== untouched) {
        throw new Error(`attention wrote ${value} to row ${Math.floor(i / stride)}, ${i % stride}`);
      }
    });
    return rows.map((_, i) => found.slice(i * stride, i * stride + heads * headDim));
  }

  /** Writes blocks of decoding rows, the last `decodes` of `rows`; returns how many of each kind there are. */
  #writeShared(rows: SceneRow[], decodes: number, shared: SceneBlock[]): number[] {
    const before = rows.length - decodes;
    const done = new Uint32Array(decodes);
    const counts = this.#step.sharedBlocks.map((buffer, kind) => {
      const words = shared.filter((block) => block.kind === kind).flatMap((block) => {
        done.fill(block.pages, block.first, block.first + block.rows);
        const { table } = this.#sequences[rows[before + block.first].sequence];
        return [before + block.first, block.rows, block.pages, table];
      });
      this.gpu.buffers.write(buffer, 0, Uint32Array.from(words));
      return words.length / 4;
    });
    this.gpu.buffers.write(this.#step.pagesDone, 0, done);
    return counts;
  }

  /** What the oracle says of a row. */
  expected({ sequence, position }: SceneRow): Float64Array {
    const { heads, kvHeads, headDim } = this.shape;
    const { keys, values } = this.#sequences[sequence];
    const query = this.#queryOf({ sequence, position });
    const output = new Float64Array(heads * headDim);
    for (let head = 0; head < heads; head++) {
      const kv = Math.floor(head / (heads / kvHeads));
      const visible = position + 1;
      const first = Math.max(0, visible - (this.sliding ?? visible));
      const own = query.subarray(head * headDim, (head + 1) * headDim);
      output.set(
        attentionOracle(own, keys[kv].slice(first, visible), values[kv].slice(first, visible)),
        head * headDim,
      );
    }
    return output;
  }

  /** A row's queries, the same whenever it is asked for. */
  #queryOf({ sequence, position }: SceneRow): Float32Array {
    const key = `${sequence} ${position}`;
    let query = this.#queries.get(key);
    if (!query) {
      const rng = new Rng(sequence * 100003 + position);
      query = rng.normals(this.shape.heads * this.shape.headDim, this.spread);
      this.#queries.set(key, query);
    }
    return query;
  }

  #round(row: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
    return this.shape.kvType === "f32" ? row : row.map((x) => f16ToNumber(numberToF16(x)));
  }
}

function shuffled(count: number, rng: Rng): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = rng.integer(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
