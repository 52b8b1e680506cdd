import { assert, assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { createHeadNorm } from "../../src/kernels/head_norm.ts";
import { qkvFinish } from "../../src/kernels/qkv_finish.ts";
import { StepBuffers } from "../../src/kernels/step_buffers.ts";
import { ropeTable } from "../../src/model/rope_table.ts";
import { paddedHeadDim } from "../../src/model/weights.ts";
import { assertClose } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpus = {
  "lanes kernels": await openTestGpu({ kernels: "lanes" }),
  "lanes kernels without subgroups": await openTestGpu({ kernels: "lanes", subgroups: false }),
  "wide kernels": await openTestGpu({ kernels: "wide" }),
};
const ROWS = 7;
const EPSILON = 1e-3;
const GUARD = 77;

for (const [family, gpu] of Object.entries(gpus)) {
  for (const [heads, kvHeads, headDim] of [[4, 2, 128], [3, 1, 20], [2, 2, 256], [1, 1, 64]]) {
    gpuTest(
      `the kernel of head norms agrees with f64: ${heads} heads of ${headDim} on ${kvHeads}, ${family}`,
      async () => {
        const padded = paddedHeadDim(headDim);
        const all = heads + 2 * kvHeads;
        // Rows lie further apart than they are long.
        const rowFloats = all * padded + 64;
        const rng = new Rng(headDim);
        const projected = new Float32Array(ROWS * rowFloats).fill(1e30);
        for (let row = 0; row < ROWS; row++) {
          for (let head = 0; head < all; head++) {
            const at = row * rowFloats + head * padded;
            projected.fill(0, at, at + padded);
            // Heads of very different sizes, one of them zero.
            const size = [1, 1e-3, 300, 0][(row + head) % 4];
            projected.set(rng.normals(headDim, size), at);
          }
        }
        const gains = new Float32Array(2 * padded);
        for (const part of [0, 1]) gains.set(rng.normals(headDim), part * padded);
        const { buffers } = gpu;
        const step = new StepBuffers(gpu, ROWS, 1, 4);
        const rope = { base: 10000, dimensions: headDim - headDim % 8, scale: 1 };
        const guarded = (floats: number) =>
          buffers.upload("guarded", new Float32Array(floats + 64).fill(GUARD));
        const pageFloats = kvHeads * 64 * padded;
        const made = {
          query: guarded(ROWS * heads * padded),
          keys: guarded(4 * pageFloats),
          values: guarded(4 * pageFloats),
        };
        const shape = { heads, kvHeads, headDim, paddedHeadDim: padded, kvType: "f32" as const };
        const call = await createHeadNorm(
          gpu,
          {
            step: step.step,
            projected: buffers.upload("projected", projected),
            pairsPerRow: rowFloats / 2,
            gains: buffers.upload("gains", gains),
            headDim,
            epsilon: EPSILON,
          },
          qkvFinish(shape, shape.headDim ** -0.5, {
            step,
            ...made,
            rope: buffers.upload("rope", ropeTable(rope, padded, 256)),
          }),
        );
        // Across the edge of a page; the page table runs backwards.
        const positions = Array.from({ length: ROWS }, (_, row) => 60 + row);
        buffers.write(step.rows, 0, Uint32Array.from(positions.flatMap((p) => [0, 0, p, 0])));
        buffers.write(step.pages, 0, Uint32Array.of(3, 2, 1, 0));
        const run = (rows: number) => {
          step.writeCounts({ rows, samples: 0, decodes: 0 });
          const pass = new StepPass(gpu);
          pass.dispatch(call, [rows, all]);
          pass.submit();
        };
        const read = async (buffer: GPUBuffer) => new Float32Array(await readBuffer(gpu, buffer));
        run(1);
        const alone = (await read(made.query)).slice(0, heads * padded);
        run(ROWS);
        const query = await read(made.query);
        const keys = await read(made.keys);
        const values = await read(made.values);
        assertEquals(query.slice(0, heads * padded), alone, "the first row alone");

        const expectedHead = (row: number, head: number): Float64Array => {
          const at = row * rowFloats + head * padded;
          const x = Float64Array.from(projected.subarray(at, at + padded));
          if (head >= heads + kvHeads) return x;
          const squares = x.reduce((sum, v) => sum + v * v, 0);
          const gain = head < heads ? 0 : padded;
          const y = x.map((v, i) => v / Math.sqrt(squares / headDim + EPSILON) * gains[gain + i]);
          for (let i = 0; i < rope.dimensions; i += 2) {
            const angle = positions[row] * rope.base ** (-i / rope.dimensions);
            const [a, b] = [y[i], y[i + 1]];
            y[i] = a * Math.cos(angle) - b * Math.sin(angle);
            y[i + 1] = a * Math.sin(angle) + b * Math.cos(angle);
          }
          return head < heads ? y.map((v) => v * Math.LOG2E / Math.sqrt(headDim)) : y;
        };
        for (let row = 0; row < ROWS; row++) {
          for (let head = 0; head < all; head++) {
            const page = 3 - Math.floor(positions[row] / 64);
            const kv = (head - heads) % kvHeads;
            const slot = (page * kvHeads + kv) * 64 + positions[row] % 64;
            const [found, at] = head < heads
              ? [query, (row * heads + head) * padded]
              : [head < heads + kvHeads ? keys : values, slot * padded];
            const what = `row ${row}, head ${head}`;
            assertClose(found.subarray(at, at + padded), expectedHead(row, head), 1e-6, what);
          }
        }
        const written = (buffer: Float32Array) => buffer.filter((v) => v !== GUARD).length;
        assertEquals(written(query), ROWS * heads * padded);
        assertEquals(written(keys), ROWS * kvHeads * padded);
        assertEquals(written(values), ROWS * kvHeads * padded);
        assert(query.subarray(ROWS * heads * padded).every((v) => v === GUARD));
      },
    );
  }
}
