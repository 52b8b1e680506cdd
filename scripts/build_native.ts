/** Builds the Rust library: `deno task build:native`. @module */

import { ensureNative } from "./setup/native.ts";

if (import.meta.main) {
  const outcome = await ensureNative(() => console.error("Building the Rust library …"));
  if (outcome.kind === "missing") {
    console.error(outcome.reason);
    Deno.exit(1);
  }
  console.error(
    `Rust library: ${outcome.path}${outcome.kind === "current" ? " (up to date)" : ""}`,
  );
}
