import { loadNative } from "./load.ts";
import { check } from "./status.ts";

/**
 * The instruction set that the native kernels use on this machine: "avx512", "avx2", "neon" or "portable".
 * @throws {Error} without the native library.
 */
export function kernelsIsa(): string {
  const library = loadNative();
  const name = new Uint8Array(16);
  const length = new Uint32Array(1);
  check(library, library.symbols.sparrow_kernels_isa(name, length));
  return new TextDecoder().decode(name.subarray(0, length[0]));
}
