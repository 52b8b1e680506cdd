import { listFiles } from "../setup/list_files.ts";
import { inProject } from "../setup/project.ts";
import type { CheckResult } from "./check.ts";

/** Past this many lines a file is mentioned, past the other it fails. */
const limits = { mention: 300, fail: 500 };

/** Files that may be longer, with the reason. */
const exceptions: Record<string, string> = {};

/** Measures the size of every source file. */
export async function checkSizes(): Promise<CheckResult> {
  const files = await listFiles("", ["ts", "rs", "wgsl", "py"]);
  const lengths: number[] = [];
  const problems: string[] = [];
  const long: string[] = [];
  for (const path of files) {
    const lines = (await Deno.readTextFile(inProject(path))).split("\n").length - 1;
    lengths.push(lines);
    if (lines > limits.fail && !(path in exceptions)) {
      problems.push(`${path}: ${lines} lines, at most ${limits.fail}: split it by what it does`);
    } else if (lines > limits.mention) long.push(`${path} ${lines}`);
  }
  lengths.sort((a, b) => a - b);
  const middle = lengths[lengths.length >> 1] ?? 0;
  const tail = long.length === 0 ? "" : `; over ${limits.mention}: ${long.join(", ")}`;
  return { summary: `${files.length} files, median ${middle} lines${tail}`, problems };
}
