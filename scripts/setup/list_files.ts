import { inProject } from "./project.ts";

/** Folders that hold nothing of the project's own. */
const foreign = new Set([
  "target",
  "node_modules",
  ".git",
  ".cache",
  "dumps",
  "__pycache__",
  "proptest-regressions",
]);

/**
 * Files under `folder` (a path in the project; "" is all of it) whose name ends in one of `extensions`, as paths in the
 * project with `/`, sorted. An absent folder has none.
 */
export async function listFiles(folder: string, extensions: string[]): Promise<string[]> {
  const found: string[] = [];
  const visit = async (path: string): Promise<void> => {
    for await (const entry of Deno.readDir(inProject(path))) {
      const child = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory) {
        if (!foreign.has(entry.name)) await visit(child);
      } else if (extensions.some((extension) => entry.name.endsWith(`.${extension}`))) {
        found.push(child);
      }
    }
  };
  try {
    await visit(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found.sort();
}
