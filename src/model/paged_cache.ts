import type { StepPass } from "../gpu/pass.ts";

/** Keys and values of all layers in pages of 64 tokens, wherever they are. Bytes of a page are those of `[kv head][slot][head dimension]`. */
export interface PagedCache {
  /** Pages of each layer. */
  readonly pages: number;
  /** Bytes of a page in one layer, keys or values. */
  readonly pageBytes: number;
  /** Bytes of all layers. */
  readonly bytes: number;
  /** Copies a whole page, all layers, at this point of the step: slots past the shared tokens are overwritten before they are read. */
  recordCopy(pass: StepPass, from: number, to: number): void;
  /** What so many pages of a layer from `first` on hold, once all that was submitted is done. */
  readPages(
    layer: number,
    first: number,
    count: number,
  ): Promise<{ keys: ArrayBuffer; values: ArrayBuffer }>;
  /** Sets pages of a layer from `first` on. */
  writePages(
    layer: number,
    first: number,
    keys: Uint8Array<ArrayBuffer>,
    values: Uint8Array<ArrayBuffer>,
  ): void;
}
