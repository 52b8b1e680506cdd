import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { sampleGroupSize } from "./sample_group_size.ts";
import { shaderFragments } from "./shader_files.ts";

/** Bytes of an `Adjusted` in shaders/sampling/adjust.wgsl. */
export const ADJUSTED_BYTES = 28;

/** Buffers of logit adjustment. */
export interface AdjustBuffers {
  logits: GPUBuffer;
  /** `Adjusted` per row. */
  adjusted: GPUBuffer;
  /** One word per slot and token: how often it was generated, and a bias in f16 above. */
  adjustments: GPUBuffer;
  /** `maskWords` words per masked row: a bit for each token that may be chosen. */
  masks: GPUBuffer;
  lastSampled: GPUBuffer;
}

/** Words of one row's mask. */
export function maskWords(vocabulary: number): number {
  return Math.ceil(vocabulary / 32);
}

/** Compiles biases, penalties and masks of tokens; dispatch it before sampling, one workgroup per adjusted row. Cost: one pass over the logits. */
export async function createAdjust(
  gpu: Gpu,
  { vocabulary, logitsPerRow, buffers }: {
    vocabulary: number;
    logitsPerRow: number;
    buffers: AdjustBuffers;
  },
): Promise<KernelCall> {
  const shader = assembleShader("adjust", shaderFragments("sampling/adjust"));
  const pipeline = await gpu.pipelines.get(shader, "adjust", {
    VOCABULARY: vocabulary,
    LOGITS_PER_ROW: logitsPerRow,
    GROUP: sampleGroupSize(gpu),
  });
  const { logits, adjusted, adjustments, masks, lastSampled } = buffers;
  return bindKernel(gpu, pipeline, {
    logits,
    adjusted,
    adjustments,
    masks,
    last_sampled: lastSampled,
  });
}
