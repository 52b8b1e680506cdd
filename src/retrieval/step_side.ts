import type { AttendResult, KvContext } from "../../ffi/kv_context.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { DenseAttention } from "../model/step_attention.ts";
import type { StepShape } from "../model/transformer.ts";
import type { PlannedStep, SampledRows } from "./planned_step.ts";

/** A layer whose attention retrieval takes over. */
export interface RetrievingLayer {
  /** Of the model. */
  layer: number;
  /** Which of a context's layers it is. */
  place: number;
}

/** Attention over what is in CPU memory for the queries of a layer, `[row that retrieves][head][stride]`. */
export type Search = (
  planned: PlannedStep,
  place: number,
  queries: Float32Array<ArrayBuffer>,
) => AttendResult;

/** Where a model's steps are computed, as retrieval sees it: on the GPU, or in CPU memory by the native library. */
export interface StepSide extends Disposable {
  /** The rows that kernels of the window read, to be written at the places of the step's decoding rows; undefined where there are no such kernels. */
  readonly windowRows: GPUBuffer | undefined;

  /** Begins step number `number` of those that retrieve. */
  begin(number: number): void;

  /** Gives queries of a layer's rows to their contexts, or keeps them for `takeSamples`. */
  sample(
    pass: StepPass,
    layer: RetrievingLayer,
    samples: readonly SampledRows[],
    step: StepShape,
  ): void;

  /** Gives the queries that `sample` kept of a step that was computed to their contexts. */
  takeSamples(samples: readonly SampledRows[]): void;

  /** Attention of a layer with rows that retrieve: its last ones. Returns the pass to go on with. */
  attend(
    pass: StepPass,
    layer: RetrievingLayer,
    step: StepShape,
    dense: DenseAttention,
    planned: PlannedStep,
  ): StepPass;

  /** Does what `attend` left for later. */
  complete(planned: PlannedStep): void;

  /** Appends pages, every layer that retrieves, to `context`. Blocks. */
  move(pages: readonly number[], context: KvContext): void;
}
