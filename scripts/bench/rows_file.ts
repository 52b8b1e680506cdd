import type { BenchRow } from "./harness.ts";

/**
 * Appends rows to a file that holds a JSON array of them, making it when it is not there. Throws `SyntaxError` for a
 * file that holds anything else, and leaves that as it is.
 */
export async function appendRows(path: string, rows: readonly BenchRow[]): Promise<void> {
  const all = [...await readRows(path), ...rows];
  // Written beside and moved into place, so that a run cut short does not cost the rows of earlier ones.
  const beside = `${path}.tmp`;
  await Deno.writeTextFile(beside, `[\n${all.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`);
  await Deno.rename(beside, path);
}

/** The rows of a file; none when there is no file. */
export async function readRows(path: string): Promise<BenchRow[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(
      `${path}: expected a JSON array of bench rows: ${(error as Error).message}`,
    );
  }
  if (!Array.isArray(rows)) throw new SyntaxError(`${path}: expected a JSON array of bench rows`);
  return rows;
}
