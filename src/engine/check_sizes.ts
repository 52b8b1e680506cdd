import type { KvType } from "../kernels/attention_shape.ts";
import type { Activations } from "../model/transformer_options.ts";
import type { RetrievalOptions } from "../retrieval/retrieval_options.ts";

/** Sizes that an engine may be given, and what stands beside them. */
export interface EngineSizes {
  /** Sequences that run side by side. */
  maxSequences?: number;
  /** Tokens of a step. */
  maxBatchTokens?: number;
  /** Tokens of a context. */
  contextLength?: number;
  /** Tokens that keys and values are held of. */
  kvTokens?: number;
  /** Bytes for keys and values. */
  maxKvBytes?: number;
  /** Element type of keys and values. */
  kvType?: KvType;
  /** What weights are multiplied with in prefill. */
  activations?: Activations;
  /** How it retrieves. */
  retrieval?: RetrievalOptions | false;
}

const sizes = ["maxSequences", "maxBatchTokens", "contextLength", "kvTokens"] as const;

const amounts = ["crossover", "tail", "idleBytes"] as const;

/**
 * Throws `RangeError` for a size of an engine that is no positive integer, an amount of retrieval below 0 or an element type that there is not;
 * absent ones have defaults.
 */
export function checkSizes(options: EngineSizes): void {
  for (const name of sizes) {
    const value = options[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw new RangeError(`open an engine: ${name} is ${value}, expected a positive integer`);
    }
  }
  const { maxKvBytes, kvType, activations, retrieval } = options;
  if (maxKvBytes !== undefined && !(maxKvBytes > 0)) {
    throw new RangeError(`open an engine: maxKvBytes is ${maxKvBytes}, expected a positive number`);
  }
  if (kvType !== undefined && kvType !== "f16" && kvType !== "f32") {
    throw new RangeError(`open an engine: kvType is ${kvType}, expected f16 or f32`);
  }
  if (activations !== undefined && activations !== "f32" && activations !== "int8") {
    throw new RangeError(`open an engine: activations is ${activations}, expected f32 or int8`);
  }
  for (const name of amounts) {
    const value = retrieval ? retrieval[name] : undefined;
    if (value !== undefined && !(value >= 0)) {
      throw new RangeError(
        `open an engine: retrieval.${name} is ${value}, expected a number of at least 0`,
      );
    }
  }
}
