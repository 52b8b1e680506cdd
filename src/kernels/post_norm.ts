import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments } from "./shader_files.ts";

/**
 * Compiles the kernel that adds rows, RMS-normalised, to the residual stream; dispatch it with one workgroup a row. A row's result does not depend on
 * the others. Cost: two reads of the rows and one of the stream, which is written.
 *
 * @param buffers `input` and `output` f32 `[row][quadsPerRow * 4]`, `gain` f32 of a row's length
 */
export async function createPostNorm(
  gpu: Gpu,
  buffers: { input: GPUBuffer; gain: GPUBuffer; output: GPUBuffer },
  { quadsPerRow, width, epsilon }: { quadsPerRow: number; width: number; epsilon: number },
): Promise<KernelCall> {
  const family = gpu.kernels === "lanes"
    ? shaderFragments(lanes(gpu), "attention/head_sum_lanes")
    : shaderFragments("attention/head_sum_wide");
  const shader = assembleShader(
    "post_norm",
    [...shaderFragments("dense/post_norm"), ...family],
    { THREADS: gpu.kernels === "lanes" ? 8 : 256 },
  );
  const pipeline = await gpu.pipelines.get(shader, "post_norm", {
    QUADS_PER_ROW: quadsPerRow,
    NORM_WIDTH: width,
    NORM_EPSILON: epsilon,
  });
  return bindKernel(gpu, pipeline, buffers);
}
