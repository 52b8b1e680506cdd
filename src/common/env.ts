/** The only file that reads the environment. A feature is an option, never a variable. @module */

function read(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

/** Path of the native library, overriding the local build (`SPARROW_NATIVE`). */
export function nativeLibraryPath(): string | undefined {
  return read("SPARROW_NATIVE");
}

/** API keys of the server when `--api-key` is not given (`SPARROW_API_KEY`), which everyone who lists processes sees; none when it is not set. */
export function apiKeysFromEnvironment(): string[] {
  return read("SPARROW_API_KEY")?.trim().split(/\s+/) ?? [];
}

/** Which backend Deno's WebGPU was told to use (`DENO_WEBGPU_BACKEND`), when it was. */
export function webgpuBackend(): string | undefined {
  return read("DENO_WEBGPU_BACKEND");
}

/** The user's runtime directory (`XDG_RUNTIME_DIR`), which Vulkan loaders complain about when it is missing. */
export function runtimeDirectory(): string | undefined {
  return read("XDG_RUNTIME_DIR");
}
