import { basename, extname } from "@std/path";
import { checkScheduler } from "../engine/check_scheduler.ts";
import { checkSizes } from "../engine/check_sizes.ts";
import { HostedEnginePool } from "../engine/engine_pool.ts";
import type { RunnerOptions } from "../engine/runner.ts";
import type { EnginePool } from "../engine/types.ts";

/** Sizes of a model's runner, and how it retrieves; each has a default that fits the adapter. */
export type RunnerSizes = Pick<
  RunnerOptions,
  "contextLength" | "maxKvBytes" | "maxSequences" | "maxBatchTokens" | "activations" | "retrieval"
>;

/** Which models to serve, and how many requests may wait for them. */
export interface PoolOptions {
  /** GGUF files, at least one, the default model first; a model's name in requests is its file's stem. Needed unless there is a `pool`. */
  models?: readonly string[];
  /** Requests that may wait for one engine before `CapacityError`. Default 256. */
  maxQueue?: number;
  /** Sizes of every model's runner. */
  sizes?: RunnerSizes;
}

/**
 * Opens a pool of engines, each in a process of its own; they load in the background. Rejects with `TypeError` without models and `RangeError` for
 * a queue or sizes out of range.
 */
// deno-lint-ignore require-await -- asynchronous, so that a refusal rejects instead of being thrown at the call
export async function openPool(
  { models = [], maxQueue, sizes = {} }: PoolOptions,
): Promise<EnginePool> {
  if (models.length === 0) {
    throw new TypeError("models: got none, expected at least one GGUF file, or a pool");
  }
  checkScheduler({ maxWaiting: maxQueue });
  checkSizes(sizes);
  return new HostedEnginePool({
    models: models.map((path) => ({
      id: basename(path, extname(path)),
      model: { path, ...sizes },
    })),
    supervision: maxQueue === undefined ? {} : { maxWaiting: maxQueue },
  });
}
