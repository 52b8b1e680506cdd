import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments } from "./shader_files.ts";

/** Compiles the kernel that writes 1 / RMS of each row; dispatch it with one workgroup a row. Cost: one read of the rows. */
export async function createRowScales(
  gpu: Gpu,
  { input, rowScale, quadsPerRow, width, epsilon }: {
    input: GPUBuffer;
    rowScale: GPUBuffer;
    quadsPerRow: number;
    width: number;
    epsilon: number;
  },
): Promise<KernelCall> {
  const fragments = gpu.kernels === "lanes"
    ? shaderFragments(lanes(gpu), "dense/row_scales", "dense/rms")
    : shaderFragments("dense/rms_wide", "dense/row_scales_wide");
  const pipeline = await gpu.pipelines.get(assembleShader("row_scales", fragments), "row_scales", {
    INPUT_QUADS_PER_ROW: quadsPerRow,
    NORM_WIDTH: width,
    NORM_EPSILON: epsilon,
  });
  return bindKernel(gpu, pipeline, { input, row_scale: rowScale });
}
