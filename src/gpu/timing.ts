import type { Gpu } from "./gpu.ts";

/** Time spent in one kernel over the steps measured. */
export interface KernelTime {
  label: string;
  calls: number;
  /** Microseconds in all. */
  us: number;
}

/**
 * Per-kernel GPU times by timestamp queries. It needs a device opened with `timing: true`; without a timer a step records no queries,
 * so measuring is free when off.
 */
export class GpuTimer {
  readonly #gpu: Gpu;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  #labels: string[] = [];

  /** @throws {TypeError} when the device was opened without `timestamp-query`. */
  constructor(gpu: Gpu, capacity = 1024) {
    if (!gpu.device.features.has("timestamp-query")) {
      throw new TypeError(
        "time kernels: the device was opened without timing, or its driver has no timestamp-query",
      );
    }
    this.#gpu = gpu;
    this.#queries = gpu.device.createQuerySet({ type: "timestamp", count: capacity * 2 });
    this.#resolved = gpu.device.createBuffer({
      label: "timestamps",
      size: capacity * 16,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
  }

  /** Reserves two queries for a dispatch. */
  next(label: string): GPUComputePassTimestampWrites {
    const index = this.#labels.length * 2;
    if (index >= this.#queries.count) {
      throw new RangeError(
        `time kernels: more than ${this.#queries.count / 2} dispatches in a step`,
      );
    }
    this.#labels.push(label);
    return {
      querySet: this.#queries,
      beginningOfPassWriteIndex: index,
      endOfPassWriteIndex: index + 1,
    };
  }

  /** Records the resolution of this step's queries. */
  resolve(encoder: GPUCommandEncoder): void {
    if (this.#labels.length > 0) {
      encoder.resolveQuerySet(this.#queries, 0, this.#labels.length * 2, this.#resolved, 0);
    }
  }

  /** Times of the last submitted step, summed by label, longest first. Starts afresh. */
  async take(): Promise<KernelTime[]> {
    const labels = this.#labels;
    this.#labels = [];
    const bytes = labels.length * 16;
    if (bytes === 0) return [];
    const staging = this.#gpu.buffers.staging("timestamps", bytes);
    const encoder = this.#gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, bytes);
    this.#gpu.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const ticks = new BigUint64Array(staging.getMappedRange().slice(0, bytes));
    this.#gpu.buffers.destroy(staging);
    const totals = new Map<string, KernelTime>();
    labels.forEach((label, i) => {
      const entry = totals.get(label) ?? { label, calls: 0, us: 0 };
      entry.calls++;
      entry.us += Number(ticks[i * 2 + 1] - ticks[i * 2]) / 1000;
      totals.set(label, entry);
    });
    return [...totals.values()].sort((a, b) => b.us - a.us);
  }

  /** Frees the query set. */
  dispose(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
  }
}
