/**
 * Finds and opens the native library, once per isolate. Only this file calls `Deno.dlopen`.
 * @module
 */

import { fromFileUrl } from "@std/path";
import { nativeLibraryPath } from "../src/common/env.ts";
import { symbols } from "./symbols.ts";

/** The opened library: its exports as functions. */
export type NativeLibrary = Deno.DynamicLibrary<typeof symbols>;

/** The ABI number that this side speaks; `native/abi/src/core.rs` says when it rises. */
const abiVersion = 6;

const fileNames: Partial<Record<typeof Deno.build.os, string>> = {
  darwin: "libsparrow.dylib",
  windows: "sparrow.dll",
};

const howToGetIt =
  "Run `deno task build:native` in a clone of the project (needs Rust's cargo, see https://rustup.rs), " +
  "or set SPARROW_NATIVE to the path of a built library.";

/** What is off without the library, for messages. */
const whatIsOff =
  "Structured output, retrieval attention and look-up-table video are off without it, and without a GPU models are slower.";

let outcome: { library: NativeLibrary; path: string } | { error: Error } | undefined;

/**
 * The native library. Opened at the first call; later calls return the same, or throw the same error.
 *
 * @throws {Error} when there is no library, it cannot be opened, or it speaks another ABI: the message names the path,
 *   what is off without it and how to get it.
 */
export function loadNative(): NativeLibrary {
  outcome ??= open();
  if ("error" in outcome) throw outcome.error;
  return outcome.library;
}

/** Why the native library cannot be used, or undefined when it can. */
export function nativeProblem(): string | undefined {
  outcome ??= open();
  return "error" in outcome ? outcome.error.message : undefined;
}

/** Whether there is a library at all, whatever its state. */
export function nativeExists(): boolean {
  return nativeCandidates().some(exists);
}

/** Where the library is looked for: `SPARROW_NATIVE`, then the local build. */
export function nativeCandidates(): string[] {
  const override = nativeLibraryPath();
  if (override) return [override];
  const url = new URL(
    `../native/target/release/${fileNames[Deno.build.os] ?? "libsparrow.so"}`,
    import.meta.url,
  );
  return url.protocol === "file:" ? [fromFileUrl(url)] : [];
}

function open(): NonNullable<typeof outcome> {
  const path = nativeCandidates().find(exists);
  if (path === undefined) {
    const looked = nativeCandidates().join(", ") || "nowhere: the package carries none";
    return failed(`The native library was not found (looked at: ${looked}).`);
  }
  let library: NativeLibrary;
  try {
    library = Deno.dlopen(path, symbols);
  } catch (error) {
    // An older build lacks newer symbols, so a plain open failure is most often a stale library.
    return failed(
      `The native library ${path} could not be opened: ${(error as Error).message}.`,
      error,
    );
  }
  const version = library.symbols.sparrow_abi_version();
  if (version !== abiVersion) {
    library.close();
    return failed(`The native library ${path} speaks ABI ${version}, expected ${abiVersion}.`);
  }
  return { library, path };
}

function failed(problem: string, cause?: unknown): { error: Error } {
  return { error: new Error(`${problem} ${whatIsOff} ${howToGetIt}`, { cause }) };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
