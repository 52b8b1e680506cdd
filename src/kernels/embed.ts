import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { shaderFragments } from "./shader_files.ts";
import type { WeightMatrix } from "./weight_matrix.ts";

/** Compiles the embedding look-up of some tokens, which leaves rows of others as they are; dispatch it with one workgroup a row. */
export async function createEmbed(
  gpu: Gpu,
  { matrix, firstToken, step, rows, lastSampled, output, quadsPerRow, scale }: {
    matrix: WeightMatrix;
    /** The token of the matrix's first row. */
    firstToken: number;
    step: GPUBuffer;
    rows: GPUBuffer;
    lastSampled: GPUBuffer;
    output: GPUBuffer;
    quadsPerRow: number;
    /** Factor of every element. */
    scale: number;
  },
): Promise<KernelCall> {
  const shader = assembleShader(
    "embed",
    shaderFragments("lib/step", ...matrix.fragments, "dense/embed"),
  );
  const pipeline = await gpu.pipelines.get(shader, "embed", {
    ...matrix.constants,
    FIRST_TOKEN: firstToken,
    TOKENS: matrix.rows,
    OUTPUT_QUADS_PER_ROW: quadsPerRow,
    EMBED_SCALE: scale,
    // One vector's worth on a CPU; on an H200 a row of 4,096 took 76 us by 8 threads.
    GROUP: gpu.adapterClass === "software" ? 8 : 256,
  });
  return bindKernel(gpu, pipeline, {
    step,
    ...matrix.bindings,
    rows,
    last_sampled: lastSampled,
    output,
  });
}
