import { Rng } from "../../../src/common/rng.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { StepPass } from "../../../src/gpu/pass.ts";
import { readBuffer } from "../../../src/gpu/read_buffer.ts";
import { createSample } from "../../../src/kernels/sample.ts";
import { createScore, SCORE_BYTES, SCORED_BYTES } from "../../../src/kernels/score.ts";
import { SAMPLE_BYTES } from "../../../src/kernels/step_buffers.ts";
import type { GpuWork } from "./gpu_clock.ts";

/** Scoring the tokens chosen from rows of logits, beside choosing them. */
export interface ScoreBench {
  /** The likeliest token of each row, by one pass over its logits. */
  greedy: GpuWork;
  /** A draw among the `top` likeliest. */
  topK: GpuWork;
  /** A draw at temperature 0.8 among the 40 likeliest, of which those that hold 0.95 of their mass. */
  draw: GpuWork;
  /** A draw at temperature 0.8 among those that hold 0.9 of the mass. */
  nucleus: GpuWork;
  /** The log probabilities of the greedy token and of the `top` likeliest. */
  score: GpuWork;
  /** Largest relative error of the log probabilities. */
  error(): Promise<number>;
}

/** Rows of normally distributed logits, `top` likeliest of each. */
export async function benchScore(
  gpu: Gpu,
  rows: number,
  vocabulary: number,
  top: number,
): Promise<ScoreBench> {
  const rng = new Rng(23);
  const values = Array.from({ length: rows }, () => rng.normals(vocabulary, 3));
  const { buffers } = gpu;
  const logits = buffers.storage("score logits", rows * vocabulary * 4);
  values.forEach((row, i) => buffers.write(logits, i * vocabulary * 4, row));
  const sampled = buffers.storage("score sampled", rows * 4);
  const lastSampled = buffers.storage("score last sampled", rows * 4);
  const scores = buffers.storage("scores", rows * SCORE_BYTES);
  const scored = buffers.upload(
    "scored",
    Uint32Array.from(
      { length: rows * SCORED_BYTES / 4 },
      (_, i) => [i >> 2, 0xffffffff, top, i >> 2][i & 3],
    ),
  );
  const sampler = async (temperature: number, k: number, p = 1) => {
    const words = new DataView(new ArrayBuffer(rows * SAMPLE_BYTES));
    for (let i = 0; i < rows; i++) {
      [i, i, 0, 1, k].forEach((word, j) => words.setUint32(i * SAMPLE_BYTES + j * 4, word, true));
      [temperature, p, 0].forEach((value, j) =>
        words.setFloat32(i * SAMPLE_BYTES + 20 + j * 4, value, true)
      );
    }
    const samples = buffers.upload("score samples", new Uint8Array(words.buffer));
    return await createSample(gpu, {
      vocabulary,
      logitsPerRow: vocabulary,
      buffers: { logits, samples, sampled, lastSampled },
    });
  };
  const greedy = await sampler(0, 0);
  const topK = await sampler(1, top);
  const draw = await sampler(0.8, 40, 0.95);
  const nucleus = await sampler(0.8, 0, 0.9);
  const bind = await createScore(gpu, {
    vocabulary,
    logitsPerRow: vocabulary,
    buffers: { sampled, scored, scores },
  });
  const score = bind(logits);
  return {
    greedy: { name: "greedy", record: (pass) => pass.dispatch(greedy, [rows]) },
    topK: { name: "top-k", record: (pass) => pass.dispatch(topK, [rows]) },
    draw: { name: "draw", record: (pass) => pass.dispatch(draw, [rows]) },
    nucleus: { name: "nucleus", record: (pass) => pass.dispatch(nucleus, [rows]) },
    score: { name: "score", record: (pass) => pass.dispatch(score, [rows]) },
    async error() {
      const pass = new StepPass(gpu);
      pass.dispatch(greedy, [rows]);
      pass.dispatch(score, [rows]);
      pass.submit();
      const found = await readBuffer(gpu, scores, 0, rows * SCORE_BYTES);
      const errors = values.flatMap((row, i) => {
        const greatest = row.reduce((a, b) => Math.max(a, b));
        const sum = row.reduce((total, x) => total + Math.exp(x - greatest), 0);
        const sorted = row.toSorted().reverse();
        const own = new Float32Array(found, i * SCORE_BYTES, 2 * (top + 1));
        // The greedy token first, then the likeliest from it on.
        return [0, ...Array.from({ length: top }, (_, rank) => rank)].map((rank, j) => {
          const expected = sorted[rank] - greatest - Math.log(sum);
          return Math.abs(own[2 * j + 1] - expected) / Math.abs(expected);
        });
      });
      return Math.max(...errors);
    },
  };
}
