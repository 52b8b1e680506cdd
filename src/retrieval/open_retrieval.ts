import { nativeProblem } from "../../ffi/load.ts";
import { log } from "../common/log.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Transformer } from "../model/transformer.ts";
import { RetrievalAttention } from "./retrieval_attention.ts";
import type { RetrievalOptions } from "./retrieval_options.ts";

/** Retrieval for a model, or undefined where it cannot be had; says why at level `debug`. */
export async function openRetrieval(
  gpu: Gpu,
  transformer: Transformer,
  options: RetrievalOptions,
): Promise<RetrievalAttention | undefined> {
  const problem = transformer.shape.kvType !== "f16"
    ? "keys and values are kept in f32, and retrieval needs f16"
    : transformer.config.window
    ? "layers of this model see a window of the context only"
    : nativeProblem();
  if (problem !== undefined) {
    log("debug", `all decoding is dense: ${problem}`);
    return undefined;
  }
  return await RetrievalAttention.open(gpu, transformer, options);
}
