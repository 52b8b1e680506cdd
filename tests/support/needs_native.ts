import { nativeProblem } from "../../ffi/load.ts";

// Asked while the module loads: a library opened inside a test counts as leaked by it.
const problem = nativeProblem();

/** Whether the native library is there; otherwise prints why the test named by `t` is skipped. */
export function needsNative(t: Deno.TestContext): boolean {
  if (problem !== undefined) console.log(`skipped: ${t.name}: ${problem}`);
  return problem === undefined;
}
