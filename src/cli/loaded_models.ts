import type { EnginePool, ModelInfo } from "../engine/types.ts";
import { UsageError } from "./usage_error.ts";

/** The models of `pool`, once they are loaded. Throws `UsageError` when the sizes asked for do not fit one another or the model. */
export async function loadedModels(pool: EnginePool): Promise<ModelInfo[]> {
  try {
    return await pool.models();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`${error.message} (--context and --kv-memory say how much)`);
  }
}
