/** Whether a WebGPU adapter is here (a software one will do). */
export const hasAdapter: boolean = await navigator.gpu?.requestAdapter() !== null;

/** Registers `test`, or a skipped test that says why. */
export function gpuTest(name: string, test: () => Promise<void>): void {
  const reason = hasAdapter ? "" : " (skipped: no WebGPU adapter; install mesa-vulkan-drivers)";
  Deno.test({ name: name + reason, ignore: !hasAdapter, fn: test });
}
