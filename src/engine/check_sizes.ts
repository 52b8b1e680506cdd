/** Sizes that an engine may be given. */
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
}

const sizes = ["maxSequences", "maxBatchTokens", "contextLength", "kvTokens"] as const;

/** Throws `RangeError` for a size of an engine that is no positive integer; absent ones have defaults. */
export function checkSizes(options: EngineSizes): void {
  for (const name of sizes) {
    const value = options[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw new RangeError(`open an engine: ${name} is ${value}, expected a positive integer`);
    }
  }
  const { maxKvBytes } = options;
  if (maxKvBytes !== undefined && !(maxKvBytes > 0)) {
    throw new RangeError(`open an engine: maxKvBytes is ${maxKvBytes}, expected a positive number`);
  }
}
