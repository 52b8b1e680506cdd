import { UsageError } from "./usage_error.ts";

/** Throws `UsageError` where `path` names no file that could be read. Pipes and devices pass. */
export async function checkInput(path: string): Promise<void> {
  try {
    if (!(await Deno.stat(path)).isDirectory) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`${path}: no such file`);
  }
  throw new UsageError(`${path} is a folder, expected a file`);
}
