import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionShape } from "./attention_shape.ts";
import { outputConstants } from "./attention_parts.ts";
import { shaderFragments } from "./shader_files.ts";

/** Log-mass of a part without keys; finite, since WGSL does not promise infinities. */
export const EMPTY_LOG_MASS = -1e30;

/**
 * The merge of attention computed elsewhere into the last rows of a step (RetrievalAttention, Liu et al. 2024, equations 4 and 5).
 * Dispatched as [those rows, heads].
 *
 * @param buffers `retrieved` `[row][head][padded head dimension]`, `retrievedMass` `[row][head]` and `logMass` `[decoding row][head]` in
 *   binary logarithms, `output` as attention left it
 */
export async function createMergeRetrieved(
  gpu: Gpu,
  shape: AttentionShape,
  buffers: {
    step: GPUBuffer;
    retrieved: GPUBuffer;
    retrievedMass: GPUBuffer;
    logMass: GPUBuffer;
    output: GPUBuffer;
  },
): Promise<KernelCall> {
  const shader = assembleShader(
    "merge_retrieved",
    shaderFragments("lib/step", "attention/merge_retrieved"),
    { CHUNKS: shape.paddedHeadDim / 64 },
  );
  const constants = { HEADS: shape.heads, ...outputConstants(shape) };
  const pipeline = await gpu.pipelines.get(shader, "merge_retrieved", constants);
  const { step, retrieved, retrievedMass, logMass, output } = buffers;
  return bindKernel(gpu, pipeline, {
    step,
    retrieved,
    retrieved_mass: retrievedMass,
    log_mass: logMass,
    output,
  });
}
