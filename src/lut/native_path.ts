import { LutCascade, type LutStage } from "../../ffi/lut_cascade.ts";
import { LutFusion, type LutFusionModel } from "../../ffi/lut_fusion.ts";
import {
  isaNumber,
  lutIsaAvailable,
  lutIsas,
  type LutRunOptions,
  threadCount,
} from "../../ffi/lut_isa.ts";
import type { LumaPath } from "./luma_path.ts";

/** Luma on the CPU, by the Rust library. */
export class NativePath implements LumaPath {
  readonly description: string;
  readonly #banks: LutFusion[];
  readonly #options: Omit<LutRunOptions, "out">;
  #cascade: LutCascade | undefined;

  /**
   * One bank of weights for each model.
   * @throws {RangeError} for an instruction set that there is not, or threads out of range.
   * @throws {Error} without the native library.
   */
  constructor(models: readonly LutFusionModel[], options: Omit<LutRunOptions, "out"> = {}) {
    isaNumber(options.isa);
    threadCount(options);
    this.#banks = models.map((model) => LutFusion.open(model));
    this.#options = options;
    const best = lutIsas.findLast((isa) => lutIsaAvailable(isa))!;
    this.description = options.isa ?? best;
  }

  fuse(
    frame: Uint8Array<ArrayBuffer>,
    previous: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
    bank = 0,
  ): Uint8Array<ArrayBuffer> {
    return this.#banks[bank].run(frame, previous, width, height, this.#options);
  }

  setStages(stages: readonly LutStage[]): void {
    const next = LutCascade.open(stages);
    this.#cascade?.[Symbol.dispose]();
    this.#cascade = next;
  }

  cascade(
    frame: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
  ): Uint8Array<ArrayBuffer> {
    if (!this.#cascade) throw new TypeError("run a cascade: no stages were set");
    return this.#cascade.run(frame, width, height, this.#options);
  }

  [Symbol.dispose](): void {
    this.#cascade?.[Symbol.dispose]();
    for (const bank of this.#banks) bank[Symbol.dispose]();
  }
}
