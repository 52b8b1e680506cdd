import { Rng } from "../../src/common/rng.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { createMergeRetrieved, EMPTY_LOG_MASS } from "../../src/kernels/merge_retrieved.ts";
import { StepBuffers } from "../../src/kernels/step_buffers.ts";
import { assertClose } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();
const [rows, decodes, retrieving, heads] = [9, 7, 4, 3];

for (const [headDim, paddedHeadDim] of [[64, 64], [80, 128]]) {
  gpuTest(
    `mergeRetrieved joins parts by their masses, however far apart: heads of ${headDim}`,
    async () => {
      const rng = new Rng(headDim);
      const outputRowQuads = heads * headDim / 4 + 3;
      const shape = {
        heads,
        kvHeads: 1,
        headDim,
        paddedHeadDim,
        outputRowQuads,
        kvType: "f16" as const,
      };
      const step = new StepBuffers(gpu, rows, rows, 4);
      step.writeCounts({ rows, samples: 0, decodes });
      const outputs = rng.normals(rows * outputRowQuads * 4);
      const retrieved = rng.normals(retrieving * heads * paddedHeadDim);
      const logMass = rng.normals(decodes * heads, 5);
      const retrievedMass = rng.normals(retrieving * heads, 5);
      // Parts without keys, on either side and on both, and masses that no f32 holds.
      const skipped = decodes - retrieving;
      const cases = [[3, EMPTY_LOG_MASS], [EMPTY_LOG_MASS, 3], [EMPTY_LOG_MASS, EMPTY_LOG_MASS], [
        900,
        -900,
      ], [-900, 900]];
      cases.forEach(([a, b], i) => {
        logMass[skipped * heads + i] = a;
        retrievedMass[i] = b;
        // What such a part leaves is zero.
        const row = Math.floor(i / heads);
        const start = ((rows - retrieving + row) * outputRowQuads) * 4 + i % heads * headDim;
        if (a === EMPTY_LOG_MASS) outputs.fill(0, start, start + headDim);
        if (b === EMPTY_LOG_MASS) retrieved.fill(0, i * paddedHeadDim, (i + 1) * paddedHeadDim);
      });
      const expected = Float64Array.from(outputs);
      for (let row = 0; row < retrieving; row++) {
        for (let head = 0; head < heads; head++) {
          const own = row * heads + head;
          const a = logMass[(skipped + row) * heads + head];
          const b = retrievedMass[own];
          const share = a === b ? 0.5 : 1 / (1 + 2 ** (b - a));
          for (let i = 0; i < headDim; i++) {
            const at = (rows - retrieving + row) * outputRowQuads * 4 + head * headDim + i;
            expected[at] = share * outputs[at] + (1 - share) * retrieved[own * paddedHeadDim + i];
          }
        }
      }
      const { buffers } = gpu;
      const output = buffers.upload("output", outputs);
      const call = await createMergeRetrieved(gpu, shape, {
        step: step.step,
        retrieved: buffers.upload("retrieved", retrieved),
        retrievedMass: buffers.upload("retrieved mass", retrievedMass),
        logMass: buffers.upload("mass", logMass),
        output,
      });
      const pass = new StepPass(gpu);
      pass.dispatch(call, [retrieving, heads]);
      pass.submit();
      const found = new Float32Array(await readBuffer(gpu, output)).subarray(0, expected.length);
      assertClose(found, expected, 1e-6, "merged");
    },
  );
}
