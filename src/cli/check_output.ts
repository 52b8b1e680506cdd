import { dirname } from "@std/path";
import { UsageError } from "./usage_error.ts";

/** Throws `UsageError` where `path` cannot be written, for want of its folder or as one itself: before the work, not after it. */
export async function checkOutput(path: string): Promise<void> {
  if (await isFolder(path)) throw new UsageError(`${path} is a folder, expected a file`);
  if (!await isFolder(dirname(path))) throw new UsageError(`${path}: there is no such folder`);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    const none = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (!none) throw error;
    return false;
  }
}
