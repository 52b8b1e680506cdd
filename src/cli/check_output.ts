import { dirname } from "@std/path";
import { UsageError } from "./usage_error.ts";

/** Throws `UsageError` where `path` cannot be written for want of its folder: before the work, not after it. */
export async function checkOutput(path: string): Promise<void> {
  try {
    if ((await Deno.stat(dirname(path))).isDirectory) return;
  } catch (error) {
    const none = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (!none) throw error;
  }
  throw new UsageError(`${path}: there is no such folder`);
}
