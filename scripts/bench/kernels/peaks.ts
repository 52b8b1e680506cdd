import type { Gpu } from "../../../src/gpu/gpu.ts";
import { bindKernel } from "../../../src/gpu/kernel_call.ts";
import { assembleShader } from "../../../src/gpu/shader.ts";
import type { GpuWork } from "./gpu_clock.ts";
import peakFma from "../../../shaders/tests/peak_fma.wgsl" with { type: "text" };
import peakRead from "../../../shaders/tests/peak_read.wgsl" with { type: "text" };

/** What a device can do at best, for other figures to be read against. */
export interface Peaks {
  fma: GpuWork & { flops: number };
  read: GpuWork & { bytes: number };
}

/** Compiles the two ceilings. */
export async function createPeaks(gpu: Gpu): Promise<Peaks> {
  const software = gpu.adapterClass === "software";
  const group = software ? 8 : 256;
  const groups = software ? 1024 : 8192;
  const rounds = 512;
  const output = gpu.buffers.storage("peak output", groups * group * 16);
  const fmaShader = assembleShader("peak_fma", [{
    name: "shaders/tests/peak_fma.wgsl",
    source: peakFma,
  }]);
  const fma = bindKernel(
    gpu,
    await gpu.pipelines.get(fmaShader, "peak_fma", { PEAK_ROUNDS: rounds, GROUP: group }),
    { output },
  );

  const reads = 64;
  const readGroups = software ? 4096 : 2048;
  const bytes = readGroups * group * reads * 16;
  const input = gpu.buffers.storage("peak input", bytes);
  const readShader = assembleShader("peak_read", [{
    name: "shaders/tests/peak_read.wgsl",
    source: peakRead,
  }]);
  const read = bindKernel(
    gpu,
    await gpu.pipelines.get(readShader, "peak_read", { READS: reads, GROUP: group }),
    {
      input,
      output: gpu.buffers.storage("peak read output", readGroups * group * 16),
    },
  );
  return {
    fma: {
      name: "fma peak",
      flops: groups * group * rounds * 32 * 8,
      record: (pass) => pass.dispatch(fma, [groups]),
    },
    read: { name: "read peak", bytes, record: (pass) => pass.dispatch(read, [readGroups]) },
  };
}
