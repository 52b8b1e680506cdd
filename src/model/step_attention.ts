import type { StepPass } from "../gpu/pass.ts";
import type { AttentionWork } from "../kernels/attention.ts";
import type { StepShape } from "./transformer.ts";

/** Attention of a layer over all pages of each row. */
export interface DenseAttention {
  record(pass: StepPass, work: AttentionWork): void;
}

/** Takes over the attention of a step's layers: what the engine injects where attention over all pages is not wanted. */
export interface StepAttention {
  /**
   * Records attention of `layer`, whose queries, keys and values `pass` has recorded; computes it where the native library computes the layers.
   *
   * @param dense attention over all pages, for the rows that want it
   * @returns the pass that the step goes on with: `pass`, or a new one if that was submitted
   */
  attend(pass: StepPass, layer: number, step: StepShape, dense: DenseAttention): StepPass;

  /** Does what the last `attend` left to be done once the GPU has come so far: to be called before the pass that it returned is submitted. */
  complete(): void;
}
