import { Rng } from "../../../src/common/rng.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { readBuffer } from "../../../src/gpu/read_buffer.ts";
import {
  Attention,
  createAttentionScratch,
  largeBlockRows,
} from "../../../src/kernels/attention.ts";
import type { AttentionShape } from "../../../src/kernels/attention_shape.ts";
import { StepBuffers } from "../../../src/kernels/step_buffers.ts";
import type { GpuWork } from "./gpu_clock.ts";

/** Causal prefill attention over `length` tokens with shuffled pages; 6 query and 2 KV heads of 64, f16 cache. */
export interface FlashBench extends GpuWork {
  /** 4 · head dimension operations per visible (query, key) pair. */
  flops: number;
  /** Largest error over 8 sampled (row, head) outputs against f64, relative to the largest value. */
  error(): Promise<number>;
}

/** @param sliding how many of its latest tokens a row sees; default all */
export async function benchFlash(
  gpu: Gpu,
  length: number,
  sliding?: number,
): Promise<FlashBench> {
  const shape: AttentionShape = {
    heads: 6,
    kvHeads: 2,
    headDim: 64,
    paddedHeadDim: 64,
    outputRowQuads: 96,
    kvType: "f16",
  };
  const rng = new Rng(11);
  const pages = length / 64;
  const tables = Uint32Array.from({ length: pages }, (_, i) => (i * 29) % pages);
  const keys = Float16Array.from(rng.normals(length * 128));
  const values = Float16Array.from(rng.normals(length * 128));
  const query = rng.normals(length * 384, Math.LOG2E / 8 * 2);
  const buffers = new StepBuffers(gpu, length, 1, pages);
  const rows = largeBlockRows(gpu, 64);
  // Longest blocks first: the last ones to finish are then short.
  const blocks = Uint32Array.from({ length: length / rows * 4 }, (_, i) => {
    const first = length - rows * (1 + (i >> 2));
    return [first, rows, first, 0][i & 3];
  });
  gpu.buffers.write(buffers.largeBlocks, 0, blocks);
  gpu.buffers.write(buffers.pages, 0, tables);
  buffers.writeCounts({ rows: length, samples: 0, decodes: 0, prefillEnd: length });
  const output = gpu.buffers.storage("flash output", length * 384 * 4);
  const attention = await Attention.create(gpu, shape, pages, {
    step: buffers,
    query: gpu.buffers.upload("flash query", query),
    keys: gpu.buffers.upload("flash keys", keys as ArrayBufferView<ArrayBuffer>),
    values: gpu.buffers.upload("flash values", values as ArrayBufferView<ArrayBuffer>),
    output,
    scratch: createAttentionScratch(gpu, shape, 1, pages),
  }, sliding);
  const seen = Math.min(length, sliding ?? length);
  const at = (position: number, kv: number) =>
    ((tables[position >> 6] * 2 + kv) * 64 + (position & 63)) * 64;
  return {
    name: `flash ${length}`,
    flops: 4 * 64 * 6 * (seen * (seen + 1) / 2 + (length - seen) * seen),
    record: (pass) =>
      attention.record(pass, {
        largeBlocks: length / rows,
        smallBlocks: 0,
        prefillRows: length,
        prefillEnd: length,
        decodes: 0,
      }),
    async error() {
      const got = new Float32Array(await readBuffer(gpu, output));
      let worst = 0;
      let largest = 0;
      for (let n = 0; n < 8; n++) {
        const row = n === 0 ? length - 1 : rng.integer(length);
        const head = rng.integer(6);
        const kv = Math.floor(head / 3);
        const out = new Float64Array(64);
        let total = 0;
        for (let position = Math.max(0, row + 1 - seen); position <= row; position++) {
          let score = 0;
          for (let d = 0; d < 64; d++) {
            score += query[row * 384 + head * 64 + d] * keys[at(position, kv) + d];
          }
          const p = 2 ** score;
          total += p;
          for (let d = 0; d < 64; d++) out[d] += p * values[at(position, kv) + d];
        }
        for (let d = 0; d < 64; d++) {
          worst = Math.max(worst, Math.abs(out[d] / total - got[row * 384 + head * 64 + d]));
          largest = Math.max(largest, Math.abs(out[d] / total));
        }
      }
      return worst / largest;
    },
  };
}
