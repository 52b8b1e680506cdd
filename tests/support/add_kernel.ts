import type { Gpu } from "../../src/gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../../src/gpu/kernel_call.ts";
import { assembleShader, type Shader } from "../../src/gpu/shader.ts";

/** The smallest kernel with an effect: adds an amount to every word of a buffer, 8 words a workgroup. */
export const addShader: Shader = assembleShader("add", [{
  name: "shaders/add.wgsl",
  source: `override AMOUNT: u32;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(8)
fn add(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < arrayLength(&words)) {
    words[id.x] += AMOUNT;
  }
}`,
}]);

/** Compiles the kernel on a buffer. */
export async function addKernel(gpu: Gpu, words: GPUBuffer, amount: number): Promise<KernelCall> {
  return bindKernel(gpu, await gpu.pipelines.get(addShader, "add", { AMOUNT: amount }), { words });
}
