import { Rng } from "../../../src/common/rng.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { readBuffer } from "../../../src/gpu/read_buffer.ts";
import { Linear } from "../../../src/kernels/linear.ts";
import { StepBuffers } from "../../../src/kernels/step_buffers.ts";
import type { Activations } from "../../../src/model/transformer_options.ts";
import { type WeightFormat, WeightMatrix } from "../../../src/kernels/weight_matrix.ts";
import type { GpuWork } from "./gpu_clock.ts";

/** A square product of seeded normal numbers, with a way to check a sample of its results in f64. */
export interface LinearBench extends GpuWork {
  flops: number;
  /** Largest error of 64 sampled results, relative to the largest of them. */
  error(): Promise<number>;
}

/** Y = X Wᵀ with `size` rows, columns and depth, X rounded to bytes if `activations` says so. */
export async function benchLinear(
  gpu: Gpu,
  format: WeightFormat,
  size: number,
  activations: Activations = "f32",
): Promise<LinearBench> {
  const rng = new Rng(7);
  const buffers = new StepBuffers(gpu, size, 1, 1);
  const x = rng.normals(size * size);
  const { matrix, weights } = randomMatrix(gpu, rng, format, size);
  const output = gpu.buffers.storage("product", size * size * 4);
  const linear = await Linear.create(gpu, {
    label: `linear ${format} ${size}`,
    step: buffers.step,
    matrix,
    input: {
      kind: "plain",
      buffer: gpu.buffers.upload("operand", x),
      quadsPerRow: size / 4,
      bytes: activations === "int8"
        ? {
          words: gpu.buffers.storage("operand as bytes", size * size),
          lines: gpu.buffers.storage("operand lines", size * size / 4),
        }
        : undefined,
    },
    finish: {
      fragments: ["dense/finish_store"],
      bindings: { output },
      constants: { OUTPUT_PAIRS_PER_ROW: size / 2 },
    },
  });
  while (await linear.prepare());
  buffers.writeCounts({ rows: size, samples: 0, decodes: 0 });
  return {
    name: `matmul ${format} ${activations}`,
    flops: 2 * size ** 3,
    record: (pass) => linear.record(pass, { rows: size, decodes: 0 }),
    async error() {
      const y = new Float32Array(await readBuffer(gpu, output));
      let worst = 0;
      let largest = 0;
      for (let i = 0; i < 64; i++) {
        const row = rng.integer(size);
        const column = rng.integer(size);
        let sum = 0;
        for (let k = 0; k < size; k++) sum += x[row * size + k] * weights(column, k);
        worst = Math.max(worst, Math.abs(y[row * size + column] - sum));
        largest = Math.max(largest, Math.abs(sum));
      }
      return worst / largest;
    },
  };
}

function randomMatrix(
  gpu: Gpu,
  rng: Rng,
  format: WeightFormat,
  size: number,
): { matrix: WeightMatrix; weights: (row: number, column: number) => number } {
  const matrix = new WeightMatrix(gpu, `weights ${format}`, format, size, size);
  if (format === "q8") {
    const words = Int8Array.from({ length: size * size }, () => rng.integer(255) - 127);
    const scales = Float32Array.from(
      { length: size * size / 32 },
      () => (0.5 + rng.uniform()) / 127,
    );
    gpu.buffers.write(matrix.words, 0, words);
    gpu.buffers.write(matrix.scales!, 0, scales);
    return { matrix, weights: (row, k) => words[row * size + k] * scales[(row * size + k) >> 5] };
  }
  if (format === "q4") {
    const words = Uint8Array.from({ length: size * size / 2 }, () => rng.integer(256));
    const lines = Float16Array.from({ length: size * size / 16 }, () => rng.uniform() / 15);
    gpu.buffers.write(matrix.words, 0, words);
    gpu.buffers.write(matrix.scales!, 0, lines);
    const weights = (row: number, k: number) => {
      const block = (row * size + k) >> 5;
      // The first 16 weights of a block are the low halves of its bytes.
      const byte = words[16 * block + k % 16];
      return lines[2 * block] * (k % 32 < 16 ? byte & 15 : byte >> 4) + lines[2 * block + 1];
    };
    return { matrix, weights };
  }
  const values = rng.normals(size * size);
  const stored = format === "f16" ? Float16Array.from(values) : values;
  gpu.buffers.write(matrix.words, 0, stored as ArrayBufferView<ArrayBuffer>);
  return { matrix, weights: (row, k) => stored[row * size + k] };
}
