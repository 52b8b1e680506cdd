/**
 * Rules that every shader file keeps. That the assembled shaders compile is checked by the kernels' own tests, which
 * build each of them on the adapter with the constants it is used with.
 * @module
 */

import { listFiles } from "../setup/list_files.ts";
import { inProject } from "../setup/project.ts";
import type { CheckResult } from "./check.ts";

/** Names of the entry points in WGSL, with their lines. */
export function entryPoints(source: string): { name: string; line: number }[] {
  return [...source.matchAll(/@(?:compute|vertex|fragment)\b[^{;]*?\bfn\s+(\w+)/g)].map((
    match,
  ) => ({
    name: match[1],
    line: source.slice(0, match.index).split("\n").length,
  }));
}

/** Names of the resources that WGSL binds, with their lines. */
export function bindings(source: string): { name: string; line: number }[] {
  return [...source.matchAll(/@binding\(\s*\w+\s*\)[^;]*?\bvar(?:<[^>]*>)?\s+(\w+)\s*:/g)].map((
    match,
  ) => ({
    name: match[1],
    line: source.slice(0, match.index).split("\n").length,
  }));
}

/** Comments out of WGSL, lines kept. */
function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " ")).replace(
    /\/\/[^\n]*/g,
    "",
  );
}

/**
 * Every shader file is used, names its entry points after what they do, and uses what it binds (fragments may use each
 * other's bindings, so a use in any file of the same folder or of `lib` counts).
 */
export async function checkShaders(): Promise<CheckResult> {
  const files = await listFiles("shaders", ["wgsl"]);
  const sources = new Map<string, string>();
  for (const path of files) {
    sources.set(path, withoutComments(await Deno.readTextFile(inProject(path))));
  }
  let typescript = "";
  for (
    const path of [
      ...await listFiles("src", ["ts"]),
      ...await listFiles("tests", ["ts"]),
      ...await listFiles("scripts", ["ts"]),
    ]
  ) {
    typescript += await Deno.readTextFile(inProject(path));
  }
  const everything = [...sources.values()].join("\n");
  const problems: string[] = [];
  for (const [path, source] of sources) {
    if (!typescript.includes(path.slice("shaders/".length))) {
      problems.push(`${path}: no source file uses it`);
    }
    for (const { name, line } of entryPoints(source)) {
      if (name === "main") {
        problems.push(`${path}:${line}: entry point "main": name it after what it does`);
      }
    }
    for (const { name, line } of bindings(source)) {
      const uses = everything.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
      const declarations =
        everything.match(new RegExp(`\\bvar(?:<[^>]*>)?\\s+${name}\\s*:`, "g"))?.length ?? 0;
      if (uses <= declarations) problems.push(`${path}:${line}: binding "${name}" is never used`);
    }
  }
  return { summary: `${files.length} files`, problems };
}
