import type { Gpu } from "../gpu/gpu.ts";
import type { ShaderPath } from "./shader_files.ts";

/** The fragment by which the 8 lanes of a workgroup exchange values on this device. */
export function lanes(gpu: Gpu): ShaderPath {
  return gpu.subgroups ? "lib/lanes_subgroup" : "lib/lanes_workgroup";
}
