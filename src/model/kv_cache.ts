import { PAGE_TOKENS } from "../common/page_tokens.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { StepPass } from "../gpu/pass.ts";
import { readBuffer } from "../gpu/read_buffer.ts";
import type { AttentionShape, KvType } from "../kernels/attention_shape.ts";
import type { PagedCache } from "./paged_cache.ts";

export { PAGE_TOKENS };

/** Bytes of one page in one layer, keys or values. */
export function pageBytes(
  shape: { kvHeads: number; paddedHeadDim: number; kvType: KvType },
): number {
  return shape.kvHeads * PAGE_TOKENS * shape.paddedHeadDim * (shape.kvType === "f16" ? 2 : 4);
}

/** Keys and values on the GPU, one buffer each per layer: [page][kv head][slot][head dimension]. */
export class KvCache implements PagedCache {
  readonly keys: GPUBuffer[];
  readonly values: GPUBuffer[];
  readonly #gpu: Gpu;
  readonly pageBytes: number;
  readonly #detour: GPUBuffer;

  /** @throws `OutOfMemoryError` when a layer's buffer, or all of them, do not fit. */
  constructor(gpu: Gpu, shape: AttentionShape, layers: number, readonly pages: number) {
    this.#gpu = gpu;
    this.pageBytes = pageBytes(shape);
    const make = (what: string) =>
      Array.from(
        { length: layers },
        (_, layer) => gpu.buffers.storage(`${what} of layer ${layer}`, pages * this.pageBytes),
      );
    this.keys = make("keys");
    this.values = make("values");
    this.#detour = gpu.buffers.storage("page copy", this.pageBytes);
  }

  /** Bytes of all layers. */
  get bytes(): number {
    return this.keys.length * 2 * this.pages * this.pageBytes;
  }

  recordCopy(pass: StepPass, from: number, to: number): void {
    for (const buffer of [...this.keys, ...this.values]) {
      // WebGPU refuses copies within one buffer, hence the detour.
      pass.copy(buffer, from * this.pageBytes, this.#detour, 0, this.pageBytes);
      pass.copy(this.#detour, 0, buffer, to * this.pageBytes, this.pageBytes);
    }
  }

  async readPages(
    layer: number,
    first: number,
    count: number,
  ): Promise<{ keys: ArrayBuffer; values: ArrayBuffer }> {
    const read = (from: GPUBuffer) =>
      readBuffer(this.#gpu, from, first * this.pageBytes, count * this.pageBytes);
    return { keys: await read(this.keys[layer]), values: await read(this.values[layer]) };
  }

  writePages(
    layer: number,
    first: number,
    keys: Uint8Array<ArrayBuffer>,
    values: Uint8Array<ArrayBuffer>,
  ): void {
    this.#gpu.buffers.write(this.keys[layer], first * this.pageBytes, keys);
    this.#gpu.buffers.write(this.values[layer], first * this.pageBytes, values);
  }
}
