import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { shaderFragments } from "./shader_files.ts";

/** Buffers of the sampling kernels. */
export interface SampleBuffers {
  logits: GPUBuffer;
  samples: GPUBuffer;
  /** The token of each sampled row. */
  sampled: GPUBuffer;
  lastSampled: GPUBuffer;
}

/** How the kernel goes over a row's logits. */
export interface SampleLayout {
  /** Threads of a row. */
  group: number;
  /** Loads that stand together. */
  loads: number;
  /** Quads of thresholds that a pass of a search tries: a search takes 14 passes with one, 10 with two. */
  quads: number;
  /** Tokens that the list of the likeliest ones holds: as many as fit the workgroup memory that WebGPU guarantees. */
  list: number;
}

/** One vector's worth on a CPU, where barriers across more cost more than they gain. A GPU waits for loads. */
const layouts: Record<"software" | "gpu", SampleLayout> = {
  software: { group: 8, loads: 1, quads: 1, list: 1984 },
  gpu: { group: 256, loads: 16, quads: 2, list: 1376 },
};

/**
 * Compiles token sampling; dispatch it with one workgroup per sampled row. Cost: one pass over the logits, two where the temperature is above 0, three with top-k or
 * top-p. Where more tokens are near the top than a list holds, each of these searches all logits: 8 to 14 passes more.
 */
export async function createSample(
  gpu: Gpu,
  { vocabulary, logitsPerRow, buffers, layout }: {
    vocabulary: number;
    logitsPerRow: number;
    buffers: SampleBuffers;
    /** Default: by adapter. */
    layout?: SampleLayout;
  },
): Promise<KernelCall> {
  const { group, loads, quads, list } = layout ??
    layouts[gpu.adapterClass === "software" ? "software" : "gpu"];
  const shader = assembleShader(
    "sample",
    shaderFragments("lib/sample_struct", "sampling/sample"),
    { LOADS: loads, QUADS: quads, LIST: list },
  );
  const pipeline = await gpu.pipelines.get(shader, "sample", {
    VOCABULARY: vocabulary,
    LOGITS_PER_ROW: logitsPerRow,
    GROUP: group,
  });
  const { logits, samples, sampled, lastSampled } = buffers;
  return bindKernel(gpu, pipeline, { logits, samples, sampled, last_sampled: lastSampled });
}
