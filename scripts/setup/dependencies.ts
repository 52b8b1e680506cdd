import { fingerprint, readStamp, writeStamp } from "./fingerprint.ts";
import { inProject } from "./project.ts";
import { runQuietly } from "./run_quietly.ts";

/**
 * Fetches the packages that `entries` (paths in the project) import into Deno's cache, unless neither `deno.json` nor the
 * lock file changed since it was last done.
 *
 * @throws {Error} with Deno's own output when a package cannot be had.
 */
export async function ensureDependencies(
  name: string,
  entries: string[],
): Promise<"current" | "fetched"> {
  const inputs = () =>
    fingerprint([Deno.version.deno, ...entries], [inProject("deno.json"), inProject("deno.lock")]);
  if ((await readStamp(name))?.fingerprint === await inputs()) return "current";
  const { code, stderr } = await runQuietly(Deno.execPath(), [
    "cache",
    ...entries.map((entry) => inProject(entry)),
  ]);
  if (code !== 0) {
    throw new Error(`Dependencies could not be fetched (deno cache exit ${code}):\n${stderr}`);
  }
  await writeStamp(name, await inputs(), entries.join(" "));
  return "fetched";
}
