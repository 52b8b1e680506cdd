import { ensureDependencies } from "./dependencies.ts";
import {
  findAdapter,
  gpuEnvironment,
  installSoftwareVulkan,
  softwareVulkanCommand,
} from "./adapter.ts";
import { ensureNative } from "./native.ts";

/** What to prepare. */
export interface PrepareOptions {
  /** Name under which fetched dependencies are remembered. */
  name: string;
  /** Modules of the project whose dependencies are needed. */
  entries: string[];
  /** Whether system packages may be installed when there is no GPU adapter. */
  install: boolean;
  /** Told what is being done, one line at a time. */
  say: (line: string) => void;
}

/** What a prepared machine offers. */
export interface Prepared {
  /** Variables for child processes. */
  environment: Record<string, string>;
  /** The adapter's name; undefined when there is none. */
  adapter: string | undefined;
  /** Whether the native library can be used. */
  native: boolean;
}

/**
 * Does everything that a fresh machine needs, and says so: dependencies, the Rust library, a GPU adapter. What is already
 * done costs milliseconds and is not mentioned.
 */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const { say } = options;
  const environment = await gpuEnvironment();
  const [, native, adapter] = await Promise.all([
    dependencies(options),
    ensureNative(() => say("Building the Rust library (once, about a minute) …")),
    adapterOrInstall(environment, options),
  ]);
  if (native.kind === "built") say("Rust library: built");
  if (native.kind === "missing") say(`Rust library: ${native.reason}`);
  return { environment, adapter, native: native.kind !== "missing" };
}

async function dependencies({ name, entries, say }: PrepareOptions): Promise<void> {
  const slow = setTimeout(() => say("Fetching dependencies …"), 400);
  try {
    if (await ensureDependencies(name, entries) === "fetched") say("Dependencies: fetched");
  } finally {
    clearTimeout(slow);
  }
}

async function adapterOrInstall(
  environment: Record<string, string>,
  { install, say }: PrepareOptions,
): Promise<string | undefined> {
  const found = await findAdapter(environment);
  if (found !== undefined) return found;
  const command = await softwareVulkanCommand();
  if (install && command?.startsWith("apt-get") && Deno.uid() === 0) {
    say(`GPU: no adapter found; installing software Vulkan (${command}) …`);
    await installSoftwareVulkan();
    const installed = await findAdapter(environment);
    say(
      installed === undefined
        ? "GPU: still no adapter after installing software Vulkan"
        : `GPU: ${installed}`,
    );
    return installed;
  }
  say(
    command === undefined
      ? "GPU: no adapter found. Install a Vulkan, Metal or Direct3D 12 driver, then start again."
      : `GPU: no adapter found. Install software Vulkan, then start again:\n  sudo ${command}`,
  );
  return undefined;
}
