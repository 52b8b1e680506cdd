import { Rng } from "../../../src/common/rng.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { StepPass } from "../../../src/gpu/pass.ts";
import { readBuffer } from "../../../src/gpu/read_buffer.ts";
import { Attention, createAttentionScratch, sharedTiles } from "../../../src/kernels/attention.ts";
import type { AttentionShape } from "../../../src/kernels/attention_shape.ts";
import { StepBuffers } from "../../../src/kernels/step_buffers.ts";
import type { GpuWork } from "./gpu_clock.ts";

/** Decode attention of many rows over one prefix that they share, each with a tail of its own. */
export interface DecodeBench {
  /** Every row walks the prefix by itself. */
  each: GpuWork;
  /** The prefix is loaded once for a block of rows. */
  shared: GpuWork;
  /** Values that differ between both in any bit; they must not. */
  differing(): Promise<number>;
}

/** Keys of each row's own, after the prefix. */
const TAIL = 100;

/**
 * One layer of sparrow-tiny's shape: 6 query and 2 KV heads of 64, f16 cache. `prefix` is a multiple of 64. With `sliding` a row sees so many of
 * its latest tokens, and none are shared.
 */
export async function benchDecode(
  gpu: Gpu,
  rows: number,
  prefix: number,
  sliding?: number,
): Promise<DecodeBench> {
  const shape: AttentionShape = {
    heads: 6,
    kvHeads: 2,
    headDim: 64,
    paddedHeadDim: 64,
    outputRowQuads: 96,
    kvType: "f16",
  };
  const rng = new Rng(17);
  const prefixPages = prefix / 64;
  const tailPages = Math.ceil(TAIL / 64);
  const pages = prefixPages + rows * tailPages;
  const order = Array.from({ length: pages }, (_, i) => i * 10007 % pages);
  if (new Set(order).size < pages) {
    throw new RangeError(`bench decode: 10007 divides ${pages} pages`);
  }
  const tables = Uint32Array.from(
    Array.from({ length: rows }, (_, row) => [
      ...order.slice(0, prefixPages),
      ...order.slice(prefixPages + row * tailPages, prefixPages + (row + 1) * tailPages),
    ]).flat(),
  );
  const rowPages = prefixPages + tailPages;
  const normals = (length: number) => Float16Array.from(rng.normals(length));
  const step = new StepBuffers(gpu, rows, rows, tables.length);
  const { buffers } = gpu;
  buffers.write(step.pages, 0, tables);
  buffers.write(
    step.rows,
    0,
    Uint32Array.from(
      { length: rows * 4 },
      (_, i) => [0, 0, prefix + TAIL - 1, (i >> 2) * rowPages][i & 3],
    ),
  );
  buffers.write(step.pagesDone, 0, new Uint32Array(rows).fill(prefixPages));
  step.writeCounts({ rows, samples: 0, decodes: rows });
  const tiles = sharedTiles(gpu, shape, rowPages).rows;
  const blocks = tiles.map((): number[] => []);
  for (let first = 0; first < rows;) {
    const kind = rows - first > (tiles[1] ?? 0) ? 0 : tiles.length - 1;
    const count = Math.min(tiles[kind], rows - first);
    blocks[kind].push(first, count, prefixPages, 0);
    first += count;
  }
  blocks.forEach((words, kind) =>
    words.length > 0 && buffers.write(step.sharedBlocks[kind], 0, Uint32Array.from(words))
  );
  const output = buffers.storage("decode output", rows * 384 * 4);
  const attention = await Attention.create(gpu, shape, rowPages, {
    step,
    query: buffers.upload("decode query", rng.normals(rows * 384, Math.LOG2E / 8 * 2)),
    keys: buffers.upload("decode keys", normals(pages * 8192) as ArrayBufferView<ArrayBuffer>),
    values: buffers.upload("decode values", normals(pages * 8192) as ArrayBufferView<ArrayBuffer>),
    output,
    scratch: createAttentionScratch(gpu, shape, rows, rowPages),
  }, sliding);
  const work = (name: string, shared?: number[]): GpuWork => ({
    name: `${name} ${rows} x ${prefix}`,
    record: (pass) =>
      attention.record(pass, {
        largeBlocks: 0,
        smallBlocks: 0,
        prefillRows: 0,
        prefillEnd: 0,
        decodes: rows,
        shared,
      }),
  });
  const each = work("decode");
  const shared = work("shared decode", blocks.map((words) => words.length / 4));
  return {
    each,
    shared,
    async differing() {
      const found: Float32Array[] = [];
      for (const one of [each, shared]) {
        buffers.write(output, 0, new Float32Array(rows * 384).fill(NaN));
        const pass = new StepPass(gpu);
        one.record(pass);
        pass.submit();
        found.push(new Float32Array(await readBuffer(gpu, output)));
      }
      return found[0].filter((value, i) => !Object.is(value, found[1][i]) || Number.isNaN(value))
        .length;
    },
  };
}
