import { dirname, join } from "@std/path";
import { listFiles } from "../setup/list_files.ts";
import { inProject } from "../setup/project.ts";
import type { CheckResult } from "./check.ts";

/** Looks for links between the project's documents that lead nowhere: to no file, or to no heading of it. */
export async function checkLinks(): Promise<CheckResult> {
  const documents = await listFiles("", ["md"]);
  const texts = new Map<string, string>();
  for (const path of documents) texts.set(path, await Deno.readTextFile(inProject(path)));
  const problems = await brokenLinks(
    texts,
    async (path) => await Deno.stat(inProject(path)).then(() => true, () => false),
  );
  return { summary: `${documents.length} documents`, problems };
}

/**
 * The links of Markdown documents that lead nowhere, a line each; those to other sites are left alone.
 * @param texts by path from the project's root
 * @param exists whether there is a file or folder of that path
 */
export async function brokenLinks(
  texts: ReadonlyMap<string, string>,
  exists: (path: string) => Promise<boolean>,
): Promise<string[]> {
  const problems: string[] = [];
  for (const [path, text] of texts) {
    for (const [, target] of prose(text).matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file, heading] = target.split("#");
      const to = file === "" ? path : join(dirname(path), file);
      const there = texts.get(to);
      if (there === undefined && !await exists(to)) {
        problems.push(`${path}: a link to ${target}: there is no ${to}`);
      } else if (heading !== undefined && !headings(there ?? "").has(heading)) {
        problems.push(`${path}: a link to ${target}: ${to} has no such heading`);
      }
    }
  }
  return problems;
}

/** Without blocks of code, whose brackets and number signs mean other things. */
function prose(text: string): string {
  return text.replace(/^```.*?^```/gms, "");
}

/** The names under which headings of a document can be linked to, as GitHub makes them. */
function headings(text: string): Set<string> {
  const names = [...prose(text).matchAll(/^#+ +(.*)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
  return new Set(names);
}
