import { nativeExists, nativeProblem } from "../../ffi/load.ts";

// Asked while the module loads: a library opened inside a test counts as leaked by it.
const problem = nativeProblem();

/**
 * Whether the native library is there; otherwise prints why the test named by `t` is skipped. A library that is there but
 * cannot be used is a failure.
 */
export function needsNative(t: Deno.TestContext): boolean {
  if (problem === undefined) return true;
  if (nativeExists()) throw new Error(problem);
  console.log(`skipped: ${t.name}: ${problem}`);
  return false;
}
