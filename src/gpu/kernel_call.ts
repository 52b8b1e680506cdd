import type { Gpu } from "./gpu.ts";
import type { ComputePipeline } from "./pipeline_cache.ts";

/** Buffers by the name that the WGSL gives them. */
export type Bindings = Readonly<Record<string, GPUBuffer>>;

/** A pipeline with its buffers: what a pass dispatches. The bind group is made once and kept. */
export interface KernelCall {
  label: string;
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
}

/**
 * Binds buffers by name.
 * @throws {TypeError} when a name the shader declares is missing, or one is given that it does not declare.
 */
export function bindKernel(gpu: Gpu, compiled: ComputePipeline, buffers: Bindings): KernelCall {
  const known = new Set(compiled.bindings.map((binding) => binding.name));
  const extra = Object.keys(buffers).filter((name) => !known.has(name));
  const missing = [...known].filter((name) => !(name in buffers));
  if (extra.length + missing.length > 0) {
    throw new TypeError(
      `bind ${compiled.label}: expected buffers ${[...known].join(", ")}` +
        (missing.length ? `; missing ${missing.join(", ")}` : "") +
        (extra.length ? `; unknown ${extra.join(", ")}` : ""),
    );
  }
  const bindGroup = gpu.device.createBindGroup({
    layout: compiled.layout,
    entries: compiled.bindings.map(({ binding, name }) => ({
      binding,
      resource: { buffer: buffers[name] },
    })),
  });
  return { label: compiled.label, pipeline: compiled.pipeline, bindGroup };
}
