import { listFiles } from "../setup/list_files.ts";
import { inProject } from "../setup/project.ts";
import type { CheckResult } from "./check.ts";

// Written in pieces, so that this file does not find itself.
const marks = [
  ["TO", "DO"],
  ["FIX", "ME"],
  ["X", "XX"],
  ["HA", "CK"],
  ["un", "implemented!"],
  ["to", "do!\\("],
  // A message to users may say that something "is not" there; a bare one is a stub.
  ["(?<!\\b(?:is|are) )not ", "implemented"],
  ["for ", "now\\b"],
  ["simpl", "ified"],
].map((parts) => parts.join(""));

const pattern = new RegExp(`(?<![\\w-])(?:${marks.join("|")})`);

/** Looks for words that mark unfinished work. */
export async function checkWords(): Promise<CheckResult> {
  const files = await listFiles("", ["ts", "rs", "wgsl", "py"]);
  const problems: string[] = [];
  for (const path of files) {
    for (const [index, line] of (await Deno.readTextFile(inProject(path))).split("\n").entries()) {
      const found = pattern.exec(line);
      if (found) {
        problems.push(
          `${path}:${index + 1}: "${found[0]}" marks unfinished work: ${line.trim().slice(0, 80)}`,
        );
      }
    }
  }
  return { summary: `${files.length} files`, problems };
}
