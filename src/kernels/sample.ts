import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { sampleGroupSize } from "./sample_group_size.ts";
import { shaderFragments } from "./shader_files.ts";

/** Buffers of the sampling kernels. */
export interface SampleBuffers {
  logits: GPUBuffer;
  samples: GPUBuffer;
  /** The token of each sampled row. */
  sampled: GPUBuffer;
  lastSampled: GPUBuffer;
}

/** Compiles token sampling; dispatch it with one workgroup per sampled row. Cost: one pass over the logits, 33 to 65 with top-k or top-p. */
export async function createSample(
  gpu: Gpu,
  { vocabulary, logitsPerRow, buffers }: {
    vocabulary: number;
    logitsPerRow: number;
    buffers: SampleBuffers;
  },
): Promise<KernelCall> {
  const shader = assembleShader("sample", shaderFragments("lib/sample_struct", "sampling/sample"));
  const pipeline = await gpu.pipelines.get(shader, "sample", {
    VOCABULARY: vocabulary,
    LOGITS_PER_ROW: logitsPerRow,
    GROUP: sampleGroupSize(gpu),
  });
  const { logits, samples, sampled, lastSampled } = buffers;
  return bindKernel(gpu, pipeline, { logits, samples, sampled, last_sampled: lastSampled });
}
