/** The hardware for people: the GPU adapter's description, or the processor's name when there is no adapter. */
export async function deviceName(): Promise<string> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  return adapter?.info.description || await processorName();
}

/** The processor's name and number of threads, as Linux tells it; the architecture elsewhere. */
export async function processorName(): Promise<string> {
  const threads = `${navigator.hardwareConcurrency} threads`;
  try {
    const text = await Deno.readTextFile("/proc/cpuinfo");
    const name = text.match(/^model name\s*:\s*(.+)$/m)?.[1];
    return `${name ?? Deno.build.arch}, ${threads}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return `${Deno.build.arch}, ${threads}`;
  }
}
