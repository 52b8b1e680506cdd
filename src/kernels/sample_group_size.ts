import type { Gpu } from "../gpu/gpu.ts";

/**
 * Lanes that share a row's vocabulary: on a CPU adapter one vector's worth (barriers across more cost more than they gain), on a GPU as many
 * as WebGPU guarantees.
 */
export function sampleGroupSize(gpu: Gpu): number {
  return gpu.adapterClass === "software" ? 8 : 256;
}
