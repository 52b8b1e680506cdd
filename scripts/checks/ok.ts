/**
 * `deno task ok`: every check of the project but its tests. All run even when one fails; one line each. Names given as
 * arguments run those checks only.
 * @module
 */

import { inProject } from "../setup/project.ts";
import { listFiles } from "../setup/list_files.ts";
import { gpuEnvironment } from "../setup/adapter.ts";
import { ensureNative } from "../setup/native.ts";
import { testFiles } from "../setup/test_files.ts";
import type { Check, CheckResult } from "./check.ts";
import { command } from "./command.ts";
import { checkFfi } from "./ffi.ts";
import { checkImports } from "./imports.ts";
import { checkLinks } from "./links.ts";
import { checkShaders } from "./shaders.ts";
import { checkSizes } from "./sizes.ts";
import { checkWords } from "./words.ts";

const deno = Deno.execPath();

/** All checks, cheap ones first. */
async function checks(): Promise<Check[]> {
  const sources = ["src", "ffi", "tests", "scripts"];
  const modules = (await Promise.all(sources.map((folder) => listFiles(folder, ["ts"])))).flat();
  const cargo = (name: string, ...args: string[]) =>
    command(name, "cargo", [
      args[0],
      `--manifest-path=${inProject("native", "Cargo.toml")}`,
      ...args.slice(1),
    ]);
  const target = `--target-dir=${inProject("native", "target")}`;
  return [
    { name: "words", run: checkWords },
    { name: "sizes", run: checkSizes },
    { name: "links", run: checkLinks },
    { name: "imports", run: checkImports },
    { name: "ffi", run: checkFfi },
    { name: "shaders", run: checkShaders },
    command("format", deno, ["fmt", "--check"]),
    command("lint", deno, ["lint"]),
    command("types", deno, ["check", "mod.ts", ...modules]),
    command("doc-lint", deno, ["doc", "--lint", "mod.ts"]),
    { name: "doc-examples", run: checkDocExamples },
    command("publish", deno, ["publish", "--dry-run", "--allow-dirty"]),
    cargo("rust-format", "fmt", "--all", "--check"),
    cargo("rust-lint", "clippy", "--workspace", "--all-targets", target, "--", "-D", "warnings"),
    { name: "tests-assert", run: checkTestsAssert },
  ];
}

/**
 * Examples in doc comments and documents compile; those of `ffi/`, which take milliseconds, also run. (The others open whole
 * engines: the tests of their classes do the same.)
 */
async function checkDocExamples(): Promise<CheckResult> {
  const withExamples: string[] = [];
  for (
    const path of ["mod.ts", ...await listFiles("src", ["ts"]), ...await listFiles("ffi", ["ts"])]
  ) {
    if (/^ *\* ```ts/m.test(await Deno.readTextFile(inProject(path)))) withExamples.push(path);
  }
  const runnable = withExamples.filter((path) => path.startsWith("ffi/"));
  const documents = ["README.md", ...await listFiles("docs", ["md"])];
  const compiled = [...withExamples.filter((path) => !path.startsWith("ffi/")), ...documents];
  const env = await gpuEnvironment();
  const problems: string[] = [];
  // The examples of ffi/ need the library as it is now. They run unchecked: Deno imports everything a module exports into
  // its examples, and then counts what they do not use as an error.
  const native = await ensureNative();
  const run = native.kind === "missing" ? ["--no-run", "--no-check"] : ["--no-check"];
  for (const [flags, paths] of [[["--no-run"], compiled], [run, runnable]]) {
    if (paths.length === 0) continue;
    const found = await command("", deno, ["test", "-A", "--doc", ...flags, ...paths], env).run();
    problems.push(...found.problems);
  }
  return { summary: `${withExamples.length + documents.length} files`, problems };
}

/** A test file without an assertion cannot fail. */
async function checkTestsAssert(): Promise<CheckResult> {
  const files = await testFiles();
  const problems: string[] = [];
  for (const path of files) {
    const source = await Deno.readTextFile(inProject(path));
    if (!/\bassert\w*\(|\bexpect\w*\(|\bcompare\w*\(|\bcheck[A-Z]\w*\(/.test(source)) {
      problems.push(`${path}: no assertion in this test file`);
    }
  }
  return { summary: `${files.length} files`, problems };
}

/** Runs the checks named in `only`, all without any; resolves to the exit code: 1 when one fails, 2 for a name that is none. */
export async function main(only: string[]): Promise<number> {
  let passed = 0;
  let failed = 0;
  const all = await checks();
  const unknown = only.find((name) => !all.some((check) => check.name === name));
  if (unknown !== undefined) {
    console.error(`no check "${unknown}", expected ${all.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  for (const check of all) {
    if (only.length > 0 && !only.includes(check.name)) continue;
    const started = performance.now();
    const { summary, problems } = await check.run();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const good = problems.length === 0;
    if (good) passed++;
    else failed++;
    const told = good
      ? summary
      : `${problems.length} ${problems.length === 1 ? "problem" : "problems"}`;
    console.error(
      `${good ? "ok  " : "FAIL"} ${check.name.padEnd(13)} ${seconds.padStart(6)} s  ${told}`,
    );
    for (const problem of problems) console.error(problem.replaceAll(/^/gm, "     "));
  }
  console.error(`checks: ${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
