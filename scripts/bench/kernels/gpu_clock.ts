import { median } from "../../../src/common/math.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { StepPass } from "../../../src/gpu/pass.ts";
import { Readback } from "../../../src/gpu/readback.ts";

/** Work to time: records dispatches into a pass. */
export interface GpuWork {
  name: string;
  record(pass: StepPass): void;
}

/** Times GPU work from submit to result, many runs a submit, candidates in turn so that a neighbour's load hits all of them. */
export class GpuClock {
  readonly #gpu: Gpu;
  readonly #readback: Readback;
  readonly #word: GPUBuffer;

  private constructor(gpu: Gpu, readback: Readback) {
    this.#gpu = gpu;
    this.#readback = readback;
    this.#word = gpu.buffers.storage("clock", 16);
  }

  static async open(gpu: Gpu): Promise<GpuClock> {
    return new GpuClock(gpu, await Readback.open(gpu, 16));
  }

  /** Milliseconds of `count` runs in one submit. */
  once(work: GpuWork, count: number): number {
    const pass = new StepPass(this.#gpu);
    const start = performance.now();
    for (let i = 0; i < count; i++) work.record(pass);
    this.#readback.record(pass, this.#word, 0, 4);
    pass.submit();
    this.#readback.read();
    return performance.now() - start;
  }

  /** Median milliseconds of one run, for each work. */
  race(works: readonly GpuWork[], { rounds = 9, minMs = 40 } = {}): number[] {
    const counts = works.map((work) => {
      this.once(work, 1);
      return Math.max(1, Math.min(500, Math.round(minMs / this.once(work, 1))));
    });
    const times = works.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      works.forEach((work, i) => times[i].push(this.once(work, counts[i]) / counts[i]));
    }
    return times.map(median);
  }
}
