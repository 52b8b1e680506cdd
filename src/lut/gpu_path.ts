import type { LutStage } from "../../ffi/lut_cascade.ts";
import type { LutFusionModel, LutLayer } from "../../ffi/lut_fusion.ts";
import { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { type Grid, StepPass } from "../gpu/pass.ts";
import type { ComputePipeline } from "../gpu/pipeline_cache.ts";
import { Readback } from "../gpu/readback.ts";
import { assembleShader, type Shader } from "../gpu/shader.ts";
import { UniformStruct } from "../gpu/uniform.ts";
import { ceilDiv } from "../common/math.ts";
import { fusionTables, layerWords, patternWords, stageTables, turnWords } from "./gpu_layouts.ts";
import type { LumaPath } from "./luma_path.ts";
import { lutShaders } from "./shader_files.ts";

const shaders = {
  stage: assembleShader("lut_stage", [lutShaders.simplex, lutShaders.stage]),
  gather: assembleShader("lut_gather", [lutShaders.gather]),
};
/** Convolutions by pixels an invocation. */
const convolutions = new Map([1, 2, 4].map((pixels) => [
  pixels,
  assembleShader("convolve_bytes", [lutShaders.convolveBytes], { PIXELS: pixels }),
]));
/** The last step for nets of one shape, assembled once. */
const fusions = new Map<string, Shader>();

function fusionOf(scale: number, experts: number): Shader {
  const key = `${scale} ${experts}`;
  const found = fusions.get(key) ??
    assembleShader("lut_fuse", [lutShaders.simplex, lutShaders.fuse], {
      SCALE: scale,
      EXPERTS: experts,
      PIXELS: fusePixels(scale),
      WORDS: ceilDiv(scale ** 2, 4),
    });
  fusions.set(key, found);
  return found;
}

/** Pixels an invocation that fill whole words of the output. */
function fusePixels(scale: number): number {
  return scale === 4 ? 1 : 4;
}

/** What WebGPU promises of one dimension of a dispatch. */
const mostWorkgroups = 65535;

const uniforms = {
  stage: new UniformStruct(lutShaders.stage.source, "StageShape"),
  fuse: new UniformStruct(lutShaders.fuse.source, "FuseShape"),
  gather: new UniformStruct(lutShaders.gather.source, "GatherShape"),
  convolve: new UniformStruct(lutShaders.convolveBytes.source, "ConvolveShape"),
};

interface Step {
  call: KernelCall;
  grid: Grid;
}

/** Dispatches for one size of frame, with what they own. */
interface Plan {
  width: number;
  height: number;
  scale: number;
  frame: GPUBuffer;
  previous: GPUBuffer | undefined;
  steps: Step[];
  result: GPUBuffer;
  readback: Readback;
  buffers: GPUBuffer[];
}

/** Luma on the GPU. Byte for byte what the Rust library gives. Owns its buffers, and the device only where it has opened it itself. */
export class GpuPath implements LumaPath {
  readonly description: string;
  readonly #gpu: Gpu;
  readonly #models: readonly LutFusionModel[];
  readonly #pixels: 1 | 2 | 4;
  #stages: readonly LutStage[] | undefined;
  readonly #fusePlans: (Plan | undefined)[] = [];
  #cascadePlan: Plan | undefined;
  #owned: Gpu | undefined;

  /** Opens the default adapter for itself. Rejects as `Gpu.open`. */
  static async open(models: readonly LutFusionModel[]): Promise<GpuPath> {
    const gpu = await Gpu.open();
    const path = new GpuPath(gpu, models);
    path.#owned = gpu;
    return path;
  }

  /** One bank of weights for each model. `pixels` an invocation of the convolutions, by default what suits the adapter. */
  constructor(
    gpu: Gpu,
    models: readonly LutFusionModel[],
    { pixels = gpu.adapterClass === "software" ? 4 : 2 }: { pixels?: 1 | 2 | 4 } = {},
  ) {
    this.#gpu = gpu;
    this.#pixels = pixels;
    this.#models = models;
    this.description = gpu.description;
  }

  async fuse(
    frame: Uint8Array<ArrayBuffer>,
    previous: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
    bank = 0,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (!fits(this.#fusePlans[bank], width, height)) {
      this.#drop(this.#fusePlans[bank]);
      this.#fusePlans[bank] = undefined;
      this.#fusePlans[bank] = await this.#planFusion(this.#models[bank], width, height);
    }
    return this.#run(this.#fusePlans[bank]!, frame, previous);
  }

  setStages(stages: readonly LutStage[]): void {
    this.#stages = stages;
    this.#drop(this.#cascadePlan);
    this.#cascadePlan = undefined;
  }

  async cascade(
    frame: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (!this.#stages) throw new TypeError("run a cascade: no stages were set");
    if (!fits(this.#cascadePlan, width, height)) {
      this.#drop(this.#cascadePlan);
      this.#cascadePlan = undefined;
      this.#cascadePlan = await this.#planCascade(this.#stages, width, height);
    }
    return this.#run(this.#cascadePlan!, frame);
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    for (const plan of this.#fusePlans.splice(0)) this.#drop(plan);
    this.#drop(this.#cascadePlan);
    this.#cascadePlan = undefined;
    this.#owned?.dispose();
  }

  async #run(
    plan: Plan,
    frame: Uint8Array<ArrayBuffer>,
    previous?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const { width, height, scale } = plan;
    if (frame.length !== width * height || (previous && previous.length !== frame.length)) {
      throw new RangeError(`the frame has ${frame.length} pixels, expected ${width * height}`);
    }
    this.#gpu.buffers.write(plan.frame, 0, frame);
    if (plan.previous) this.#gpu.buffers.write(plan.previous, 0, previous ?? frame);
    const pass = new StepPass(this.#gpu);
    for (const { call, grid } of plan.steps) pass.dispatch(call, grid);
    const stride = ceilDiv(width, 4) * 4 * scale;
    plan.readback.record(pass, plan.result, 0, stride * height * scale);
    pass.submit();
    // Reading blocks: the caller may do what else there is first.
    await undefined;
    const padded = new Uint8Array(plan.readback.read());
    this.#gpu.check();
    const row = width * scale;
    if (row === stride) return padded;
    const out = new Uint8Array(row * height * scale);
    for (let y = 0; y < height * scale; y++) {
      out.set(padded.subarray(y * stride, y * stride + row), y * row);
    }
    return out;
  }

  async #planCascade(stages: readonly LutStage[], width: number, height: number): Promise<Plan> {
    const build = new Builder(this.#gpu);
    const frame = build.bytes("lut frame", width * height);
    let from = frame, made = 1, stride = width;
    if (stages.at(-1)!.scale === 1) {
      throw new RangeError("the last stage on the GPU has scale 1, expected 2 to 4");
    }
    for (const stage of stages) {
      const { scale, step = 1 } = stage;
      const enlarging = scale > 1;
      if (step !== made) {
        throw new RangeError(`a stage has step ${step}, expected ${made}, the scale before it`);
      }
      const columns = enlarging ? ceilDiv(width, 4) : width;
      const to = build.words("lut stage", columns * height * scale ** 2);
      const pipeline = await this.#gpu.pipelines.get(
        shaders.stage,
        enlarging ? "enlarge" : "refine",
        { SCALE: scale, STEP: step, REFINED: from === frame || step > 1 ? 0 : 1 },
      );
      build.step(pipeline, [ceilDiv(columns, 64), height], {
        shape: build.uniform(uniforms.stage, {
          width,
          height,
          stride,
          shift: stage.shift,
          patterns: stage.patterns.length,
          rotations: stage.rotations,
          divisor: stage.divisor,
          bias: stage.bias,
          centre: stage.centre ? 1 : 0,
          rows: stage.tables[0].length / scale ** 2,
        }),
        frame: from,
        offsets: build.upload("lut offsets", patternWords(stage.patterns, step)),
        tables: build.upload("lut tables", stageTables(stage)),
        turned: build.upload("lut turns", turnWords(scale)),
        result: to,
      });
      from = to;
      made = scale;
      stride = enlarging ? columns * 4 * scale : width;
    }
    return await build.finish({ width, height, scale: stages.at(-1)!.scale, frame, result: from });
  }

  async #planFusion(model: LutFusionModel, width: number, height: number): Promise<Plan> {
    const build = new Builder(this.#gpu);
    const frame = build.bytes("lut frame", width * height);
    const previous = build.bytes("lut previous frame", width * height);
    const [halfW, halfH] = [ceilDiv(width, 2), ceilDiv(height, 2)];
    const gather = async (entry: string, w: number, h: number, words: number) => {
      const result = build.words(`lut ${entry}`, w * h * words);
      build.step(await this.#gpu.pipelines.get(shaders.gather, entry), [ceilDiv(w, 64), h], {
        shape: build.uniform(uniforms.gather, { width, height }),
        frame,
        previous,
        result,
      });
      return result;
    };
    const pixels = this.#pixels;
    const convolution = convolutions.get(this.#pixels)!;
    const net = async (
      layers: readonly LutLayer[],
      input: GPUBuffer,
      w: number,
      h: number,
      signed: boolean,
    ) => {
      const shape = build.uniform(uniforms.convolve, { width: w, height: h });
      let from = input, held = layers[0].inputs;
      for (const [i, layer] of layers.entries()) {
        const { groups, weights, requantise } = layerWords(layer);
        const hidden = !(signed && i === layers.length - 1);
        const pipeline = await this.#gpu.pipelines.get(convolution, "convolve", {
          WORDS: layer.inputs / 4,
          STRIDE: held / 4,
          GROUPS: groups,
          HIDDEN: hidden ? 1 : 0,
        });
        const result = build.words(`convolution ${i}`, w * h * groups * 4);
        const workgroups = ceilDiv(ceilDiv(w, pixels) * h, 32);
        const rows = ceilDiv(workgroups, mostWorkgroups);
        build.step(pipeline, [ceilDiv(workgroups, rows), rows, groups], {
          shape,
          activations: from,
          weights: build.upload(`convolution ${i} weights`, weights),
          requantise: build.upload(`convolution ${i} bias`, requantise),
          result,
        });
        from = result;
        held = groups * 16;
      }
      return from;
    };
    const gates = await net(
      model.gates,
      await gather("pairs", halfW, halfH, 2),
      halfW,
      halfH,
      false,
    );
    const residual = await net(
      model.trunk,
      await gather("pixels", width, height, 1),
      width,
      height,
      true,
    );
    const result = build.words("lut result", ceilDiv(width, 4) * height * model.scale ** 2);
    const gated = Math.min(model.experts, model.gates.at(-1)!.outputs);
    const fuse = await this.#gpu.pipelines.get(fusionOf(model.scale, gated), "fuse");
    build.step(fuse, [ceilDiv(width, 64 * fusePixels(model.scale)), height], {
      shape: build.uniform(uniforms.fuse, {
        width,
        height,
        shift: model.shift,
        total: model.divisorShift + 6,
        patterns: model.patterns.length,
        rows: model.tables[0].length / model.experts / model.scale ** 2,
      }),
      frame,
      offsets: build.upload("lut offsets", patternWords(model.patterns)),
      tables: build.upload("lut expert tables", fusionTables(model, gated)),
      gates,
      residual,
      result,
    });
    return await build.finish({ width, height, scale: model.scale, frame, previous, result });
  }

  #drop(plan: Plan | undefined): void {
    if (!plan) return;
    plan.readback.dispose();
    for (const buffer of plan.buffers) this.#gpu.buffers.destroy(buffer);
  }
}

function fits(plan: Plan | undefined, width: number, height: number): boolean {
  return plan?.width === width && plan.height === height;
}

/** Collects the steps of a plan and the buffers they own. */
class Builder {
  readonly #gpu: Gpu;
  readonly #buffers: GPUBuffer[] = [];
  readonly #steps: Step[] = [];

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  bytes(label: string, count: number): GPUBuffer {
    return this.#keep(this.#gpu.buffers.storage(label, count));
  }

  words(label: string, count: number): GPUBuffer {
    return this.#keep(this.#gpu.buffers.storage(label, count * 4));
  }

  upload(label: string, data: ArrayBufferView<ArrayBuffer>): GPUBuffer {
    return this.#keep(this.#gpu.buffers.upload(label, data));
  }

  uniform(struct: UniformStruct, values: Record<string, number>): GPUBuffer {
    const buffer = this.#keep(this.#gpu.buffers.uniform("lut shape", struct.byteLength));
    this.#gpu.buffers.write(buffer, 0, struct.pack(values));
    return buffer;
  }

  step(pipeline: ComputePipeline, grid: Grid, buffers: Record<string, GPUBuffer>): void {
    this.#steps.push({ call: bindKernel(this.#gpu, pipeline, buffers), grid });
  }

  async finish(
    parts: Pick<Plan, "width" | "height" | "scale" | "frame" | "result"> & { previous?: GPUBuffer },
  ): Promise<Plan> {
    const bytes = ceilDiv(parts.width, 4) * 4 * parts.scale ** 2 * parts.height;
    const readback = await Readback.open(this.#gpu, bytes);
    return { previous: undefined, ...parts, steps: this.#steps, readback, buffers: this.#buffers };
  }

  #keep(buffer: GPUBuffer): GPUBuffer {
    this.#buffers.push(buffer);
    return buffer;
  }
}
