import { nativeLibraryPath } from "../../src/common/env.ts";
import { nativeCandidates } from "../../ffi/load.ts";
import { fingerprint, readStamp, writeStamp } from "./fingerprint.ts";
import { inProject } from "./project.ts";
import { runQuietly } from "./run_quietly.ts";

/** What became of the native library. */
export type NativeOutcome =
  | { kind: "current" | "built" | "given"; path: string }
  | { kind: "missing"; reason: string };

/**
 * Builds the Rust library into `native/target` unless nothing changed since the last build. The compiler's output is
 * shown only in a failure's reason. `SPARROW_NATIVE` names a library to use instead: nothing is built then.
 */
export async function ensureNative(onBuild: () => void = () => {}): Promise<NativeOutcome> {
  const given = nativeLibraryPath();
  if (given) return { kind: "given", path: given };
  const [path] = nativeCandidates();
  const inputs = await fingerprint([], [inProject("native")], [
    inProject("native", "target"),
    inProject("native", "bench"),
  ]);
  const stamp = await readStamp("native");
  if (stamp?.fingerprint === inputs && await exists(path)) return { kind: "current", path };

  if ((await runQuietly("cargo", ["--version"])).code === 127) {
    return {
      kind: "missing",
      reason:
        "Rust's cargo was not found: structured output, retrieval attention and look-up-table video are off. " +
        "Get it from https://rustup.rs, then start again.",
    };
  }
  onBuild();
  const built = await runQuietly("cargo", [
    "build",
    "--release",
    "--package=sparrow-abi",
    `--manifest-path=${inProject("native", "Cargo.toml")}`,
    `--target-dir=${inProject("native", "target")}`,
  ]);
  if (built.code !== 0) {
    return {
      kind: "missing",
      reason: `the Rust library did not build (cargo exit ${built.code}):\n${built.stderr}`,
    };
  }
  // Cargo may have touched its lock file, so the inputs are measured again.
  await writeStamp(
    "native",
    await fingerprint([], [inProject("native")], [
      inProject("native", "target"),
      inProject("native", "bench"),
    ]),
    path,
  );
  return { kind: "built", path };
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
