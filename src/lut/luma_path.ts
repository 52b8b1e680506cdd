import type { LutStage } from "../../ffi/lut_cascade.ts";

/** Where luma is computed, the first by default. */
export const lumaDevices: readonly LumaDevice[] = ["cpu", "gpu"];

/** One of `lumaDevices`: the Rust library on the processor, or shaders on the default adapter. Both give the same bytes. */
export type LumaDevice = "cpu" | "gpu";

/** What enlarges luma: the Rust library or the shaders. Both give the same bytes. */
export interface LumaPath extends Disposable {
  /** For people: "avx512", "llvmpipe …". */
  readonly description: string;
  /**
   * The fusion net's result for a frame and its predecessor (the frame itself after a cut), by the weights of `bank` (default
   * 0, the first that the path was opened with).
   */
  fuse(
    frame: Uint8Array<ArrayBuffer>,
    previous: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
    bank?: number,
  ): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
  /** Replaces the stages that `cascade` runs. */
  setStages(stages: readonly LutStage[]): void;
  /** The stages' result. */
  cascade(
    frame: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
  ): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
}
