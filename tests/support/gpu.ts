import { Gpu, type GpuOptions } from "../../src/gpu/gpu.ts";
import { hasAdapter } from "./needs_adapter.ts";

/**
 * A device shared by a test file, opened while its module loads and closed with it: each device compiles its
 * pipelines anew. Without an adapter there is none, and `gpuTest` skips whatever would have used it.
 */
export async function openTestGpu(options?: GpuOptions): Promise<Gpu> {
  if (!hasAdapter) return undefined as unknown as Gpu;
  const gpu = await Gpu.open(options);
  globalThis.addEventListener("unload", () => gpu.dispose());
  return gpu;
}
