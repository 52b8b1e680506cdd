import type { StepRunner } from "./step.ts";
import type { TextCodec } from "./text_codec.ts";
import type { ModelInfo } from "./types.ts";

/** A model ready to run. Whoever opened it disposes the runner. */
export interface OpenedModel {
  info: ModelInfo;
  codec: TextCodec;
  runner: StepRunner;
}

/** Opens a model; called again after its device was lost. */
export type ModelOpener = () => Promise<OpenedModel>;
