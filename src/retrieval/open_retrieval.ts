import { nativeProblem } from "../../ffi/load.ts";
import { log } from "../common/log.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Transformer } from "../model/transformer.ts";
import { RetrievalAttention } from "./retrieval_attention.ts";
import { retrievingLayers } from "./retrieving_layers.ts";
import type { RetrievalOptions } from "./retrieval_options.ts";

/** Retrieval for a model, or undefined where it cannot be had; says why at level `debug`. */
export async function openRetrieval(
  gpu: Gpu,
  transformer: Transformer,
  options: RetrievalOptions,
): Promise<RetrievalAttention | undefined> {
  const problem = transformer.shape.kvType !== "f16"
    ? "keys and values are kept in f32, and retrieval needs f16"
    : retrievingLayers(transformer).length === 0
    ? "every layer of this model sees a window of the context only"
    : nativeProblem();
  if (problem !== undefined) {
    log("debug", `all decoding is dense: ${problem}`);
    return undefined;
  }
  return await RetrievalAttention.open(gpu, transformer, options);
}
