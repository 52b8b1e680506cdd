import { inProject } from "../../setup/project.ts";
import type { BenchContext } from "../harness.ts";
import { runNativeBench } from "../native_bench.ts";

/**
 * Rows `decode_step_128k/…`, and with `--full` `decode_step_1m/…`: one decode step of a layer whose keys and values come
 * from memory, against exact half-precision attention and against the best scan of all keys, side by side.
 */
export async function decodeStep(context: BenchContext): Promise<void> {
  await runNativeBench("retrieval", context, inProject("native", "bench"));
}
