import { KvPages } from "../../ffi/kv_pages.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { AttentionShape } from "../kernels/attention_shape.ts";
import { pageBytes } from "./kv_cache.ts";
import type { PagedCache } from "./paged_cache.ts";

/** Keys and values in CPU memory, in half precision, where the native library computes the layers. */
export class NativeKvCache implements PagedCache, Disposable {
  /** What layers and retrieval use. */
  readonly held: KvPages;
  readonly pageBytes: number;

  /** @throws {RangeError} when there is no memory for them. */
  constructor({ kvHeads, paddedHeadDim: dim }: AttentionShape, layers: number, pages: number) {
    this.held = KvPages.open({ layers, kvHeads, dim, pages });
    this.pageBytes = pageBytes({ kvHeads, paddedHeadDim: dim, kvType: "f16" });
  }

  get pages(): number {
    return this.held.shape.pages;
  }

  get bytes(): number {
    return 2 * this.held.shape.layers * this.pages * this.pageBytes;
  }

  recordCopy(_pass: StepPass, from: number, to: number): void {
    this.held.copy(from, to);
  }

  readPages(
    layer: number,
    first: number,
    count: number,
  ): Promise<{ keys: ArrayBuffer; values: ArrayBuffer }> {
    const { keys, values } = this.held.read(layer, pagesFrom(first, count));
    return Promise.resolve({ keys: keys.buffer, values: values.buffer });
  }

  writePages(
    layer: number,
    first: number,
    keys: Uint8Array<ArrayBuffer>,
    values: Uint8Array<ArrayBuffer>,
  ): void {
    const halves = ({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>) =>
      new Uint16Array(buffer, byteOffset, length / 2);
    const pages = pagesFrom(first, keys.length / this.pageBytes);
    this.held.write(layer, pages, halves(keys), halves(values));
  }

  /** Frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    this.held[Symbol.dispose]();
  }
}

function pagesFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
