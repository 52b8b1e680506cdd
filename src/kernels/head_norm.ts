import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { lanes } from "./lanes.ts";
import type { LinearFinish } from "./linear_variant.ts";
import { shaderFragments } from "./shader_files.ts";

/** What the kernel of head norms reads, beside what the finish of a QKV product does. */
export interface HeadNormInput {
  step: GPUBuffer;
  /** f32 products `[row][query, key and value heads][padded head dimension]`, `pairsPerRow` pairs from row to row. */
  projected: GPUBuffer;
  pairsPerRow: number;
  /** f32 `[queries, keys][padded head dimension]`. */
  gains: GPUBuffer;
  /** True head dimension. */
  headDim: number;
  epsilon: number;
}

/**
 * Compiles the kernel that normalises every query and key head, rotates and scales it and stores it as the finish of the QKV product would.
 * Dispatched as [rows, heads + 2 · kvHeads]; a row's result does not depend on the others. Cost: two reads and a write of the products.
 */
export async function createHeadNorm(
  gpu: Gpu,
  input: HeadNormInput,
  finish: LinearFinish,
): Promise<KernelCall> {
  const family = gpu.kernels === "lanes"
    ? shaderFragments(lanes(gpu), "attention/head_sum_lanes")
    : shaderFragments("attention/head_sum_wide");
  const shader = assembleShader(
    "head_norm",
    [...shaderFragments("lib/step", ...finish.fragments, "attention/head_norm"), ...family],
    { THREADS: gpu.kernels === "lanes" ? 8 : 32 },
  );
  const pipeline = await gpu.pipelines.get(shader, "head_norm", {
    NORM_WIDTH: input.headDim,
    NORM_EPSILON: input.epsilon,
    ROW_PAIRS: input.pairsPerRow,
    ...finish.constants,
  });
  return bindKernel(gpu, pipeline, {
    step: input.step,
    projected: input.projected,
    gain: input.gains,
    ...finish.bindings,
  });
}
