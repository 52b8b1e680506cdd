import { nativeProblem } from "../../ffi/load.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Transformer } from "../model/transformer.ts";
import { RetrievalAttention } from "./retrieval_attention.ts";
import { retrievingLayers } from "./retrieving_layers.ts";
import type { RetrievalOptions } from "./retrieval_options.ts";

/** Retrieval for a model, or undefined where it cannot be had: with keys and values in f32, where every layer sees a window only, without the native library. */
export async function openRetrieval(
  gpu: Gpu,
  transformer: Transformer,
  options: RetrievalOptions,
): Promise<RetrievalAttention | undefined> {
  const possible = transformer.shape.kvType === "f16" &&
    retrievingLayers(transformer).length > 0 && nativeProblem() === undefined;
  if (!possible) return undefined;
  return await RetrievalAttention.open(gpu, transformer, options);
}
