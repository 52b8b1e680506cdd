import type { EngineOptions } from "./engine.ts";
import type { ErrorWire } from "./error_wire.ts";
import type { OpenedModel } from "./opened_model.ts";
import type { EngineLoad, GenerateEvent, GenerateRequest, ModelInfo } from "./types.ts";

/** What a host opens; plain JSON. */
export interface HostSpec {
  /** Passed to `openModel`. */
  model: unknown;
  engine?: Omit<EngineOptions, "onStep">;
  /** URL of a module that exports `openModel`, in place of the engine's own. */
  module?: string;
}

/** What a module named by `HostSpec.module` exports. */
export interface ModelModule {
  openModel(model: unknown): Promise<OpenedModel>;
}

/** A question with one answer. */
export type HostCall =
  | { method: "tokenize"; text: string; options: { addBos?: boolean; special?: boolean } }
  | { method: "detokenize"; ids: number[] }
  | { method: "cachedPrefix"; ids: number[]; cacheScope: string };

/** To a host. The first message is `open`. */
export type ToHost =
  | { type: "open"; spec: HostSpec }
  | { type: "submit"; request: GenerateRequest }
  | { type: "cancel"; id: string }
  | { type: "call"; call: number; question: HostCall }
  | { type: "close" };

/** An event of the generation `id`, or its failure. */
export type HostEvent = [id: string, event: GenerateEvent | { type: "failed"; error: ErrorWire }];

/** From a host. */
export type FromHost =
  | { type: "opened"; info: ModelInfo; load: EngineLoad }
  /** The model could not be opened. */
  | { type: "failed"; error: ErrorWire }
  /** All events of one step. */
  | { type: "events"; events: HostEvent[] }
  | { type: "reply"; call: number; value: unknown }
  | { type: "refusal"; call: number; error: ErrorWire }
  | { type: "load"; load: EngineLoad };
