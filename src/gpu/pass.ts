import type { Gpu } from "./gpu.ts";
import type { GpuTimer } from "./timing.ts";
import type { KernelCall } from "./kernel_call.ts";

/** Workgroup counts along x, y, z. */
export type Grid = readonly [number, number?, number?];

/**
 * Records one step: copies before, one compute pass, copies after, one submit. A dispatch inside an open pass costs about 1 µs of
 * CPU time; a pass or a submit of its own would cost several.
 */
export class StepPass {
  readonly #gpu: Gpu;
  #encoder: GPUCommandEncoder;
  readonly #timer: GpuTimer | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #pipeline: GPUComputePipeline | undefined;
  #dispatches = 0;
  #commands: GPUCommandBuffer | undefined;

  constructor(gpu: Gpu, timer?: GpuTimer) {
    this.#gpu = gpu;
    this.#timer = timer;
    this.#encoder = gpu.device.createCommandEncoder();
  }

  /** Dispatches recorded so far. */
  get dispatches(): number {
    return this.#dispatches;
  }

  /** Records a dispatch; one with an empty grid is left out. */
  dispatch(call: KernelCall, [x, y = 1, z = 1]: Grid): void {
    if (x === 0 || y === 0 || z === 0) return;
    if (this.#timer) {
      // Timing splits the pass, since timestamps are taken at pass boundaries only.
      this.#endPass();
      this.#pass = this.#encoder.beginComputePass({
        timestampWrites: this.#timer.next(call.label),
      });
      this.#pipeline = undefined;
    }
    this.#pass ??= this.#encoder.beginComputePass();
    if (this.#pipeline !== call.pipeline) {
      this.#pass.setPipeline(call.pipeline);
      this.#pipeline = call.pipeline;
    }
    this.#pass.setBindGroup(0, call.bindGroup);
    this.#pass.dispatchWorkgroups(x, y, z);
    this.#dispatches++;
  }

  /** Records a copy at this point of the step. */
  copy(from: GPUBuffer, fromOffset: number, to: GPUBuffer, toOffset: number, bytes: number): void {
    this.#endPass();
    this.#encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, bytes);
  }

  /** Submits what was recorded so far and goes on recording: for a step that needs a result of its own. */
  flush(): void {
    this.#endPass();
    this.#gpu.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = this.#gpu.device.createCommandEncoder();
  }

  /** Ends the recording, which is most of a submit's work: nothing more can be recorded. */
  finish(): void {
    if (this.#commands) return;
    this.#endPass();
    this.#timer?.resolve(this.#encoder);
    this.#commands = this.#encoder.finish();
  }

  /** Submits everything recorded. The pass must not be used afterwards. */
  submit(): void {
    this.finish();
    this.#gpu.device.queue.submit([this.#commands!]);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#pipeline = undefined;
  }
}
