/**
 * Sparrow: long-context language models and super-resolution on any GPU that WebGPU reaches, from Deno.
 *
 * ```ts ignore
 * import { TextEngine } from "@sparrow/sparrow";
 *
 * await using engine = await TextEngine.open({ model: "models/sparrow-mini.gguf" });
 * for await (const event of engine.generate("Once upon a time", { maxTokens: 64 })) {
 *   if (event.type === "delta") console.log(event.text);
 * }
 * ```
 * @module
 */
export {
  CancelledError,
  CapacityError,
  ConstraintError,
  DeviceLostError,
  ModelFormatError,
  OutOfMemoryError,
} from "./src/common/errors.ts";
export {
  type Completion,
  type Embeddings,
  type EmbedOptions,
  type GenerateOptions,
  TextEngine,
  type TextEngineOptions,
  type TextPrompt,
} from "./src/engine/text_engine.ts";
export type * from "./src/engine/types.ts";
export { type RunningServer, serve, type ServeOptions } from "./src/server/serve.ts";
export type { ApplicationOptions, AppOptions, FetchHandler } from "./src/server/options.ts";
export type { PoolOptions, RunnerSizes } from "./src/server/open_pool.ts";
export type { ModelOptions } from "./src/engine/open_model.ts";
export type { RunnerOptions } from "./src/engine/runner.ts";
export type { RetrievalOptions } from "./src/retrieval/retrieval_options.ts";
export type { WindowOptions } from "./src/retrieval/window.ts";
export type { SchedulerOptions } from "./src/engine/scheduler_options.ts";
export type { KvType } from "./src/kernels/attention_shape.ts";
export type { Activations } from "./src/model/transformer_options.ts";
export {
  type CallOptions,
  type Criteria,
  type GraphClientOptions,
  GraphRequestError,
  GraphSession,
  input,
  type InputSlot,
  type InputValue,
  output,
  type OutputOptions,
  type OutputSlot,
  RemoteVariable,
  type SemanticFunction,
  semanticFunction,
  type SessionDescription,
  type Transform,
  type UpscaleOptions,
} from "./src/client/mod.ts";
export type { GraphTransport } from "./src/client/graph_transport.ts";
export type { InputName, OutputName, Slot } from "./src/client/semantic_function.ts";
export type { NodeDescription, VariableDescription } from "./src/graph/describe_session.ts";
export type { NodeState } from "./src/graph/node.ts";
export type { VariableState } from "./src/graph/semantic_variable.ts";
export {
  VideoUpscaler,
  type VideoUpscalerOptions,
  type VideoUpscalerStats,
} from "./src/lut/video_upscaler.ts";
export type { Quality } from "./src/lut/quality_ladder.ts";
export type { LumaDevice, LumaPath } from "./src/lut/luma_path.ts";
export type { PatternName } from "./src/lut/patterns.ts";
export type { LutScale } from "./src/lut/model_file.ts";
export type { ChromaLayout, ChromaSiting, VideoFrame } from "./src/lut/video_frame.ts";
export { upscaleFile, type UpscaleFileOptions } from "./src/lut/upscale_file.ts";
export { enlargeLuma, type ImageUpscaleOptions, upscaleImage } from "./src/lut/upscale_image.ts";
export { decodeImage, encodeImage, type ImageFormat, type RgbaImage } from "./src/formats/image.ts";
export {
  AttentionIndex,
  type AttentionIndexInfo,
  type AttentionIndexOptions,
  type SearchHits,
  type SearchOptions,
} from "./ffi/attention_index.ts";
export type { SearchStrategy } from "./ffi/search_strategy.ts";
export { LutCascade, type LutPattern, type LutStage } from "./ffi/lut_cascade.ts";
export type { LutIsa, LutRunOptions } from "./ffi/lut_isa.ts";
export { loadMulut, type MulutOptions } from "./src/lut/load_mulut.ts";
