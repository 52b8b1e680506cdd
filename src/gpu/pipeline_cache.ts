import type { Shader } from "./shader.ts";

/** A compiled entry point with the layout its bind groups must have. */
export interface ComputePipeline {
  label: string;
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  bindings: Shader["bindings"];
}

/**
 * Compiles each distinct (code, entry point, constants) once. A failed compile is dropped, so that a caller may try again after
 * mending its shader; layouts are explicit, so that pipelines with equal bindings share bind groups.
 */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Promise<ComputePipeline>>();
  /** By code: products of equal shape of work differ in constants only, and reading the largest takes 0.1 s. */
  readonly #modules = new Map<string, Promise<GPUShaderModule>>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Distinct pipelines compiled, failures excluded. */
  get size(): number {
    return this.#pipelines.size;
  }

  /**
   * @param entryPoint name of the `@compute` function
   * @param constants values of the shader's `override`s
   * @throws {SyntaxError} when the WGSL does not compile, with fragment, line and the offending text.
   */
  get(
    shader: Shader,
    entryPoint: string,
    constants: Record<string, number> = {},
  ): Promise<ComputePipeline> {
    const key = JSON.stringify([entryPoint, constants, shader.code]);
    let pending = this.#pipelines.get(key);
    if (!pending) {
      pending = this.#compile(shader, entryPoint, constants);
      this.#pipelines.set(key, pending);
      pending.catch(() => this.#pipelines.delete(key));
    }
    return pending;
  }

  async #compile(
    shader: Shader,
    entryPoint: string,
    constants: Record<string, number>,
  ): Promise<ComputePipeline> {
    const device = this.#device;
    const module = await this.#module(shader);
    device.pushErrorScope("validation");
    const layout = this.#layout(shader);
    const pipeline = device.createComputePipeline({
      label: `${shader.label}.${entryPoint}`,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint, constants },
    });
    const error = await device.popErrorScope();
    if (error) {
      throw new SyntaxError(`create pipeline ${shader.label}.${entryPoint}: ${error.message}`);
    }
    return { label: `${shader.label}.${entryPoint}`, pipeline, layout, bindings: shader.bindings };
  }

  #module(shader: Shader): Promise<GPUShaderModule> {
    let pending = this.#modules.get(shader.code);
    if (!pending) {
      pending = this.#read(shader);
      this.#modules.set(shader.code, pending);
      pending.catch(() => this.#modules.delete(shader.code));
    }
    return pending;
  }

  async #read(shader: Shader): Promise<GPUShaderModule> {
    const device = this.#device;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: shader.label, code: shader.code });
    const error = await device.popErrorScope();
    if (error) throw await compileError(shader, module, error);
    return module;
  }

  #layout(shader: Shader): GPUBindGroupLayout {
    const key = shader.bindings.map((b) => `${b.binding}${b.type}`).join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = this.#device.createBindGroupLayout({
        entries: shader.bindings.map(({ binding, type }) => ({
          binding,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type },
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }
}

async function compileError(
  shader: Shader,
  module: GPUShaderModule,
  error: GPUError,
): Promise<SyntaxError> {
  const code = shader.code.split("\n");
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter((message) => message.type === "error");
  if (errors.length === 0) {
    return new SyntaxError(`compile shader ${shader.label}: ${error.message}`);
  }
  const text = errors.map(({ lineNum, linePos, message }) => {
    const origin = shader.lines[lineNum - 1];
    const where = origin ? `${origin.fragment}:${origin.line}:${linePos}` : "unknown place";
    const what = message.match(/error: (.*)/)?.[1] ?? message.trim();
    return `${where}: ${what}\n    ${code[lineNum - 1]?.trim() ?? ""}`;
  });
  return new SyntaxError(`compile shader ${shader.label}: ${text.join("\n")}`);
}
