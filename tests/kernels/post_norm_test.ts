import { Rng } from "../../src/common/rng.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { createPostNorm } from "../../src/kernels/post_norm.ts";
import { normalise } from "../oracle/linear.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const EPSILON = 1e-6;

for (const kernels of ["lanes", "wide"] as const) {
  const gpu = await openTestGpu({ kernels });
  for (const [width, padded] of [[3, 128], [64, 128], [640, 640], [2561, 2688]]) {
    gpuTest(
      `createPostNorm adds normalised rows to what was there, each by itself: ${kernels} kernels, width ${width}`,
      async () => {
        const rng = new Rng(width);
        const count = 5;
        const { buffers } = gpu;
        // Rows of very different sizes, one of zeros; what lies behind the last is nobody's.
        const rows = Array.from(
          { length: count },
          (_, row) => rng.normals(width, row === 3 ? 0 : 10 ** (2 * row - 4)),
        );
        const before = rng.normals(padded * (count + 1), 1);
        const lay = (all: ArrayLike<number>[], tail: number) => {
          const laid = new Float32Array(padded * (count + 1)).fill(tail, padded * count);
          all.forEach((row, i) => laid.set(row, i * padded));
          return laid;
        };
        const gain = new Float32Array(padded);
        gain.set(rng.normals(width, 1));
        const input = buffers.upload("yielded", lay(rows, NaN));
        const output = buffers.upload("residual", before);
        const call = await createPostNorm(
          gpu,
          { input, gain: buffers.upload("gain", gain), output },
          { quadsPerRow: padded / 4, width, epsilon: EPSILON },
        );
        const run = async (some: number) => {
          buffers.write(output, 0, before);
          const pass = new StepPass(gpu);
          pass.dispatch(call, [some]);
          pass.submit();
          return new Float32Array(await readBuffer(gpu, output));
        };
        const found = await run(count);
        rows.forEach((row, i) => {
          const held = before.subarray(i * padded, (i + 1) * padded);
          const expected = Float64Array.from(held);
          normalise(row, gain, EPSILON).forEach((x, j) => expected[j] += x);
          assertClose(found.slice(i * padded, (i + 1) * padded), expected, 1e-6, `row ${i}`);
        });
        const rest = found.slice(padded * count);
        assertSameBits(rest, before.slice(padded * count), "behind the last row");
        const alone = await run(1);
        assertSameBits(alone.slice(0, padded), found.slice(0, padded), "the first row alone");
        assertSameBits(alone.slice(padded), before.slice(padded), "rows that are not of the step");
      },
    );
  }
}
