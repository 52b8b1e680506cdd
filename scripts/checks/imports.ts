/**
 * Imports run one way: each area may import only the areas listed for it here. This table is the architecture; a new
 * area has to be entered before it passes.
 * @module
 */

import { dirname, join } from "@std/path";
import { inProject } from "../setup/project.ts";
import { listFiles } from "../setup/list_files.ts";
import type { CheckResult } from "./check.ts";

/** What each area may import, besides itself. Areas are the folders of `src`, and `ffi`, `shaders`. */
const allowed: Record<string, readonly string[]> = {
  common: [],
  shaders: [],
  web: [],
  gpu: ["common"],
  formats: ["common"],
  ffi: ["common"],
  tokenizer: ["common", "formats"],
  constraint: ["common", "ffi"],
  kernels: ["common", "ffi", "gpu", "shaders"],
  model: ["common", "ffi", "formats", "gpu", "kernels"],
  retrieval: ["common", "ffi", "gpu", "kernels", "model"],
  lut: ["common", "ffi", "formats", "gpu", "shaders"],
  engine: [
    "common",
    "constraint",
    "formats",
    "gpu",
    "kernels",
    "model",
    "retrieval",
    "tokenizer",
  ],
  graph: ["common", "constraint", "engine"],
  client: ["constraint", "graph"],
  server: ["common", "constraint", "engine", "formats", "graph", "lut", "tokenizer", "web"],
  cli: ["common", "constraint", "engine", "formats", "lut", "server"],
};

/** Files that must stay testable in microseconds: nothing they reach may lie in these areas. */
const pure = {
  files: [/^src\/engine\/(scheduler|block_manager)\.ts$/, /^src\/graph\//],
  never: ["gpu", "kernels", "ffi"],
};

/** The area of a path in the project, or undefined outside of them (mod.ts, tests, scripts). */
function areaOf(path: string): string | undefined {
  const parts = path.split("/");
  if (parts[0] === "src") return parts[1];
  return parts[0] === "ffi" || parts[0] === "shaders" ? parts[0] : undefined;
}

/** What `source` (the file at `path`) imports at run time or as types, as paths in the project. */
export function importsOf(
  path: string,
  source: string,
): { target: string; line: number; typeOnly: boolean }[] {
  const found = [];
  const pattern =
    /^\s*(?:import|export)\s+(type\s)?(?:[^;"'`]*?\sfrom\s+)?["'](\.[^"']+)["']|\bimport\(\s*["'](\.[^"']+)["']/gm;
  for (const match of source.matchAll(pattern)) {
    const line = source.slice(0, match.index).split("\n").length;
    const target = join(dirname(path), match[2] ?? match[3]).replaceAll("\\", "/");
    found.push({ target, line, typeOnly: match[1] !== undefined });
  }
  return found;
}

/** Compares every relative import of `src` and `ffi` with the table, and looks for `Deno.dlopen` and `Deno.env` elsewhere. */
export async function checkImports(): Promise<CheckResult> {
  const problems: string[] = [];
  const files = [...await listFiles("src", ["ts"]), ...await listFiles("ffi", ["ts"])];
  const graph = new Map<string, string[]>();
  for (const path of files) {
    const source = await Deno.readTextFile(inProject(path));
    const area = areaOf(path) ?? "";
    if (!(area in allowed)) {
      problems.push(`${path}: area "${area}" is not in the table of scripts/checks/imports.ts`);
    }
    const imports = importsOf(path, source);
    graph.set(path, imports.filter((found) => !found.typeOnly).map((found) => found.target));
    for (const { target, line } of imports) {
      // The manifest holds the version, and nothing to depend on the wrong way.
      if (target === "deno.json") continue;
      const other = areaOf(target);
      if (other === undefined) {
        problems.push(`${path}:${line}: imports ${target}, which is outside src, ffi and shaders`);
      } else if (other !== area && !allowed[area]?.includes(other)) {
        problems.push(`${path}:${line}: ${area} must not import ${other} (${target})`);
      }
    }
    problems.push(...forbiddenCalls(path, source));
  }
  for (const path of files.filter((path) => pure.files.some((pattern) => pattern.test(path)))) {
    const reached = reach(path, graph).find((target) => pure.never.includes(areaOf(target) ?? ""));
    if (reached !== undefined) {
      problems.push(`${path}: must not reach the GPU, but reaches ${reached}`);
    }
  }
  return { summary: `${files.length} files`, problems };
}

function forbiddenCalls(path: string, source: string): string[] {
  const problems: string[] = [];
  for (const [index, line] of source.split("\n").entries()) {
    if (/^\s*(\*|\/\/)/.test(line)) continue;
    if (/\bDeno\.dlopen\(/.test(line) && !path.startsWith("ffi/")) {
      problems.push(`${path}:${index + 1}: only ffi/ may call Deno.dlopen`);
    }
    if (/\bDeno\.env\b/.test(line) && path !== "src/common/env.ts") {
      problems.push(`${path}:${index + 1}: only src/common/env.ts reads the environment`);
    }
  }
  return problems;
}

function reach(start: string, graph: Map<string, string[]>): string[] {
  const seen = new Set([start]);
  const pending = [start];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    for (const next of graph.get(path) ?? []) {
      if (!seen.has(next)) {
        seen.add(next);
        pending.push(next);
      }
    }
  }
  seen.delete(start);
  return [...seen];
}
