import { basename, extname } from "@std/path";
import { HostedEnginePool } from "../engine/engine_pool.ts";
import type { EnginePool } from "../engine/types.ts";

/** Which models to serve, and how many requests may wait for them. */
export interface PoolOptions {
  /** GGUF files, the default model first; a model's name in requests is its file's stem. */
  models?: readonly string[];
  /** Requests that may wait for one engine before `CapacityError`. Default 256. */
  maxQueue?: number;
}

/** Opens a pool of engines, each in a process of its own; they load in the background. Throws `TypeError` without models. */
export function openPool({ models = [], maxQueue }: PoolOptions): Promise<EnginePool> {
  const pool = new HostedEnginePool({
    models: models.map((path) => ({ id: basename(path, extname(path)), model: { path } })),
    supervision: maxQueue === undefined ? {} : { maxWaiting: maxQueue },
  });
  return Promise.resolve(pool);
}
