import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { assembleShader } from "../gpu/shader.ts";
import { shaderFragments } from "./shader_files.ts";

/** Steps of the kernel's loop for each workgroup dispatched: a few microseconds (two cores of software Vulkan 1.5). */
const ROUND = 32;
/** What a measurement should take; a tenth of that is what a submit and a read take without work. */
const MEASURED_MS = 0.6;
/** Workgroups of the first measurement: a fraction of a millisecond on any GPU. */
const FIRST = 8;
/** WebGPU's limit for a dispatch. */
const MOST = 65535;

/**
 * Gives a GPU something to do while the CPU works, on one of its many processors, so that its driver does not lower the clock.
 *
 * A driver that sees a GPU wait for more than half of the time makes it slow, and then everything it does takes long: an H200 that ran 0.25 ms
 * of kernels, then waited 0.8 ms for a search, fell from 1980 to 345 MHz within seconds, and what had taken 0.25 ms took 1.0. Kept busy for
 * half of the waiting it was back at 1980 within a second or two, at 170 W for 100.
 */
export class ClockKeeper implements Disposable {
  readonly #gpu: Gpu;
  readonly #call: KernelCall;
  readonly #sink: GPUBuffer;
  readonly #readback: Readback;
  /** Workgroups that take a millisecond: never more than that, since what was measured took a submit and a read besides. */
  #perMs: number | undefined;

  private constructor(gpu: Gpu, call: KernelCall, sink: GPUBuffer, readback: Readback) {
    this.#gpu = gpu;
    this.#call = call;
    this.#sink = sink;
    this.#readback = readback;
  }

  /** Compiles the kernel. */
  static async open(gpu: Gpu): Promise<ClockKeeper> {
    const shader = assembleShader("keep_busy", shaderFragments("pace/keep_busy"));
    const sink = gpu.buffers.storage("busy sink", 128);
    const [pipeline, readback] = await Promise.all([
      gpu.pipelines.get(shader, "keep_busy", { ROUND }),
      Readback.open(gpu, 4),
    ]);
    return new ClockKeeper(gpu, bindKernel(gpu, pipeline, { sink }), sink, readback);
  }

  /** Records work of at most `milliseconds` at the clock measured last; none before the first measurement. */
  record(pass: StepPass, milliseconds: number): void {
    const groups = Math.floor((this.#perMs ?? 0) * milliseconds);
    pass.dispatch(this.#call, [Math.max(0, Math.min(MOST, groups))]);
  }

  /** Measures how fast the GPU is. Blocks for about 0.6 ms, and until the GPU has done what was submitted before. */
  measure(): void {
    // The first guess is far too little, on which a submit and a read are most of the time.
    const times = this.#perMs === undefined ? 4 : 1;
    for (let i = 0; i < times; i++) {
      const wanted = Math.round((this.#perMs ?? 0) * MEASURED_MS);
      const groups = Math.max(FIRST, Math.min(MOST, wanted));
      const pass = new StepPass(this.#gpu);
      pass.dispatch(this.#call, [groups]);
      this.#readback.record(pass, this.#sink, 0, 4);
      const start = performance.now();
      pass.submit();
      this.#readback.read();
      this.#perMs = groups / (performance.now() - start);
    }
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#readback.dispose();
    this.#gpu.buffers.destroy(this.#sink);
  }
}
