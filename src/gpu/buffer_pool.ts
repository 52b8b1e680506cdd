import { OutOfMemoryError } from "../common/errors.ts";
import { roundUp } from "../common/math.ts";

/** A view of bytes that can be written to a buffer. */
export type BufferData = ArrayBufferView<ArrayBuffer>;

/** Allocates storage buffers under a byte cap, and knows what each is for. */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #live = new Map<GPUBuffer, number>();
  /** Most bytes alive at once. */
  readonly maxBytes: number;
  /** Most bytes of one buffer: what the device binds to a shader. */
  readonly largest: number;
  #bytes = 0;

  constructor(device: GPUDevice, maxBytes: number, largest = Infinity) {
    this.#device = device;
    this.maxBytes = maxBytes;
    const { maxStorageBufferBindingSize, maxBufferSize } = device.limits;
    this.largest = Math.min(maxStorageBufferBindingSize, maxBufferSize, largest);
  }

  /** Bytes alive now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Buffers alive now. */
  get count(): number {
    return this.#live.size;
  }

  /**
   * A zeroed buffer of at least `bytes` bytes (rounded up to 16: WebGPU has no empty binding and copies are 4-aligned).
   * @throws {OutOfMemoryError} when the cap, or the device's largest binding, would be passed.
   */
  storage(label: string, bytes: number, usage = 0): GPUBuffer {
    return this.#create(
      label,
      bytes,
      GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST | usage,
    );
  }

  /** A storage buffer filled with `data`. */
  upload(label: string, data: BufferData, usage = 0): GPUBuffer {
    const buffer = this.storage(label, data.byteLength, usage);
    this.write(buffer, 0, data);
    return buffer;
  }

  /** A uniform buffer. */
  uniform(label: string, bytes: number): GPUBuffer {
    return this.#create(label, bytes, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  }

  /** A buffer that the CPU maps for reading. Only `Readback` should need one. */
  staging(label: string, bytes: number): GPUBuffer {
    return this.#create(label, bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  /** Writes whole 4-byte words; a tail is padded with zeros, which must lie inside the buffer. */
  write(buffer: GPUBuffer, offset: number, data: BufferData): void {
    const { buffer: bytes, byteOffset, byteLength } = data;
    // Not by bits: those of a number that JavaScript keeps as an integer end at 2 GiB.
    const whole = byteLength - byteLength % 4;
    if (whole > 0) this.#device.queue.writeBuffer(buffer, offset, bytes, byteOffset, whole);
    if (whole < byteLength) {
      const tail = new Uint8Array(4);
      tail.set(new Uint8Array(bytes, byteOffset + whole, byteLength - whole));
      this.#device.queue.writeBuffer(buffer, offset + whole, tail);
    }
  }

  /** Destroys one buffer: its memory is free at once, not at the next garbage collection. */
  destroy(buffer: GPUBuffer): void {
    const bytes = this.#live.get(buffer);
    if (bytes === undefined) return;
    this.#live.delete(buffer);
    this.#bytes -= bytes;
    buffer.destroy();
  }

  /** Destroys every buffer. */
  destroyAll(): void {
    for (const buffer of [...this.#live.keys()]) this.destroy(buffer);
  }

  #create(label: string, bytes: number, usage: number): GPUBuffer {
    const size = Math.max(16, roundUp(bytes, 16));
    if (!(size <= this.largest)) {
      throw new OutOfMemoryError(
        `allocate GPU buffer ${label}: ${size} bytes, but this device binds at most ${this.largest}`,
      );
    }
    if (this.#bytes + size > this.maxBytes) {
      throw new OutOfMemoryError(
        `allocate GPU buffer ${label}: ${size} bytes beside the ${this.#bytes} in use would pass the cap of ${this.maxBytes}`,
      );
    }
    const buffer = this.#device.createBuffer({ label, size, usage });
    this.#live.set(buffer, size);
    this.#bytes += size;
    return buffer;
  }
}
