import { nativeProblem } from "../../ffi/load.ts";

// A runner opens the native library if it is there. Opened while modules load, it does not count as leaked by the first such test.
nativeProblem();

/** Whether a WebGPU adapter is here (a software one will do). */
export const hasAdapter: boolean = await navigator.gpu?.requestAdapter() !== null;

/** Registers `test`, or a skipped test that says why. */
export function gpuTest(name: string, test: (t: Deno.TestContext) => void | Promise<void>): void {
  const reason = hasAdapter ? "" : " (skipped: no WebGPU adapter; install mesa-vulkan-drivers)";
  Deno.test({
    name: name + reason,
    ignore: !hasAdapter,
    fn: async (t) => {
      try {
        await test(t);
      } finally {
        // Mappings that `Readback` did not await settle 10 ms late, later under load; the sanitizer would count them as leaked.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  });
}
