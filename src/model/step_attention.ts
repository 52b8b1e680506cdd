import type { StepPass } from "../gpu/pass.ts";
import type { Attention } from "../kernels/attention.ts";
import type { StepShape } from "./transformer.ts";

/** Takes over the attention of a step's layers: what the engine injects where attention over all pages is not wanted. */
export interface StepAttention {
  /**
   * Records attention of `layer`, whose queries, keys and values `pass` has recorded.
   *
   * @param dense attention over all pages, for the rows that want it
   * @returns the pass that the step goes on with: `pass`, or a new one if that was submitted
   */
  attend(pass: StepPass, layer: number, step: StepShape, dense: Attention): StepPass;

  /** Does what the last `attend` left to be done once the GPU has come so far: to be called before the pass that it returned is submitted. */
  complete(): void;
}
