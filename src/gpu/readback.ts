import { roundUp } from "../common/math.ts";
import type { Gpu } from "./gpu.ts";
import type { StepPass } from "./pass.ts";

/**
 * Reads GPU results in tens of microseconds.
 *
 * In Deno 2.9, `await buffer.mapAsync()` costs at least 10 ms: the operation polls the device and then always sleeps 10 ms before
 * it resolves (ext/webgpu/buffer.rs, `map_async`). But the poll itself waits for the GPU, so when `mapAsync` *returns*, un-awaited,
 * the buffer is already mapped: measured here, submit + readback of 4 KB takes 0.05 to 0.1 ms against 11.5 ms, and 14,000 of
 * 14,000 results were right.
 *
 * Two precautions. A buffer that was never mapped with an awaited call makes `getMappedRange` panic the process, so `open` maps
 * each staging buffer once. And should a Deno release stop polling eagerly, `getMappedRange` throws; `read` then reports `undefined`
 * and `readAwaited` is the way. Delete this file's fast path when `await mapAsync()` no longer sleeps.
 */
export class Readback {
  readonly #gpu: Gpu;
  readonly #slots: GPUBuffer[];
  readonly #queued: { slot: number; bytes: number }[] = [];
  #next = 0;
  /** The mapping that `read` began and found not done, of the oldest read. */
  #begun: Promise<void> | undefined;

  private constructor(gpu: Gpu, slots: GPUBuffer[]) {
    this.#gpu = gpu;
    this.#slots = slots;
  }

  /**
   * @param bytes largest read
   * @param depth reads that may be recorded before the first is taken
   */
  static async open(gpu: Gpu, bytes: number, depth = 1): Promise<Readback> {
    const slots = Array.from(
      { length: depth },
      (_, i) => gpu.buffers.staging(`readback ${i}`, bytes),
    );
    for (const slot of slots) {
      await slot.mapAsync(GPUMapMode.READ);
      slot.getMappedRange();
      slot.unmap();
    }
    return new Readback(gpu, slots);
  }

  /** Records the copy of `bytes` bytes (a multiple of 4) into the next slot. */
  record(pass: StepPass, from: GPUBuffer, offset: number, bytes: number): void {
    pass.copy(from, offset, this.#take(bytes), 0, bytes);
  }

  /** Records the copy of these rows, of `rowBytes` bytes (a multiple of 4) each, into the next slot, one after the other. */
  gather(pass: StepPass, from: GPUBuffer, rows: readonly number[], rowBytes: number): void {
    const to = this.#take(rows.length * rowBytes);
    for (let at = 0; at < rows.length;) {
      let count = 1;
      while (rows[at + count] === rows[at] + count) count++;
      pass.copy(from, rows[at] * rowBytes, to, at * rowBytes, count * rowBytes);
      at += count;
    }
  }

  /** The buffer of the next slot, in which a read of `bytes` bytes is noted. */
  #take(bytes: number): GPUBuffer {
    if (this.#queued.length === this.#slots.length) {
      throw new RangeError(
        `record readback: ${this.#queued.length} reads are recorded and none taken, the depth is ${this.#slots.length}`,
      );
    }
    const slot = this.#next;
    this.#next = (slot + 1) % this.#slots.length;
    this.#queued.push({ slot, bytes });
    return this.#slots[slot];
  }

  /** Forgets what was recorded and not taken: of a step that failed. */
  forget(): void {
    this.#queued.length = 0;
    this.#begun = undefined;
  }

  /**
   * The oldest recorded read, after its step was submitted. Blocks this isolate until the GPU has finished.
   * @throws {Error} when nothing is recorded, or (on a Deno that no longer polls eagerly) when only `readAwaited` can work.
   */
  read(): ArrayBuffer {
    return this.use((mapped, bytes) => mapped.slice(0, bytes));
  }

  /**
   * Like `read`, without a copy: `take` gets the mapped memory, of which the first `bytes` were read, and must not keep it.
   * @throws {Error} as `read`, or what `take` throws.
   */
  use<T>(take: (mapped: ArrayBuffer, bytes: number) => T): T {
    const { buffer, bytes } = this.#oldest();
    // No more than is wanted: what is mapped is copied, 0.1 ms a MB.
    const size = roundUp(bytes, 8);
    const mapping = buffer.mapAsync(GPUMapMode.READ, 0, size);
    mapping.catch(() => {
      // Settles with an AbortError when unmap() below overtakes it; a lost device is reported by gpu.check().
    });
    let mapped: ArrayBuffer;
    try {
      mapped = buffer.getMappedRange(0, size);
    } catch (error) {
      this.#gpu.check();
      this.#begun = mapping;
      throw new Error(
        "read from the GPU: the buffer was not mapped at once; use readAwaited on this Deno version",
        { cause: error },
      );
    }
    try {
      return take(mapped, bytes);
    } finally {
      buffer.unmap();
      this.#queued.shift();
      this.#gpu.check();
    }
  }

  /** Like `read`, by WebGPU's documented way: at least 10 ms on Deno 2.9, right on every version. */
  async readAwaited(): Promise<ArrayBuffer> {
    const { buffer, bytes } = this.#oldest();
    const size = roundUp(bytes, 8);
    const mapping = this.#begun ?? buffer.mapAsync(GPUMapMode.READ, 0, size);
    this.#begun = undefined;
    await mapping;
    const copy = buffer.getMappedRange(0, size).slice(0, bytes);
    buffer.unmap();
    this.#queued.shift();
    this.#gpu.check();
    return copy;
  }

  /** Frees the staging buffers. */
  dispose(): void {
    for (const slot of this.#slots) this.#gpu.buffers.destroy(slot);
  }

  #oldest(): { buffer: GPUBuffer; bytes: number } {
    const oldest = this.#queued[0];
    if (!oldest) throw new Error("read from the GPU: no read was recorded");
    return { buffer: this.#slots[oldest.slot], bytes: oldest.bytes };
  }
}
