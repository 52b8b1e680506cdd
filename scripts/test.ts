/**
 * The whole default test suite: prepares the machine as `task start` does, then runs the Rust tests and the Deno tests on
 * whatever adapter there is (software Vulkan counts), these by folder, two at a time. Ends with one line of totals.
 *
 * `--data DIR` gives tests that use real material their folder; `--no-install` forbids installing system packages;
 * everything else goes to `deno test` (paths, `--filter`, …).
 * @module
 */

import { FewAtATime } from "../src/common/few_at_a_time.ts";
import { inProject, root } from "./setup/project.ts";
import { prepare } from "./setup/prepare.ts";
import { runAndWatch } from "./setup/run_and_watch.ts";
import { testFiles } from "./setup/test_files.ts";

/** Counts of a stage. */
interface Totals {
  passed: number;
  failed: number;
  ignored: number;
}

/** Splits our own flags from what `deno test` and the tests themselves get. */
function parse(
  args: string[],
): { install: boolean; rust: boolean; toDeno: string[]; toTests: string[] } {
  const toDeno: string[] = [];
  const toTests: string[] = [];
  let install = true;
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--no-install") install = false;
    else if (args[i] === "--data") toTests.push("--data", args[++i] ?? "");
    else if (args[i].startsWith("--data=")) toTests.push("--data", args[i].slice("--data=".length));
    else if (args[i] !== "--") toDeno.push(args[i]);
  }
  // Whoever names files or a filter wants those tests only.
  return { install, rust: toDeno.length === 0, toDeno, toTests };
}

async function rustTests(): Promise<Totals> {
  const { code, output } = await runAndWatch("cargo", [
    "test",
    "--workspace",
    `--manifest-path=${inProject("native", "Cargo.toml")}`,
    `--target-dir=${inProject("native", "target")}`,
  ], { cwd: root });
  const totals: Totals = { passed: 0, failed: 0, ignored: 0 };
  for (
    const found of output.matchAll(/test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/g)
  ) {
    totals.passed += Number(found[1]);
    totals.failed += Number(found[2]);
    totals.ignored += Number(found[3]);
  }
  if (code !== 0 && totals.failed === 0) totals.failed = 1;
  return totals;
}

/** Folders of tests that take longest, longest first: begun last, they would run on alone. */
const longest = ["kernels", "model", "retrieval", "engine", "lut", "server"];

/** What each process of the Deno tests runs: what its user names, else a folder of tests. */
function shares(toDeno: string[], files: string[]): string[][] {
  if (toDeno.some((arg) => !arg.startsWith("-"))) return [toDeno];
  const rank = (folder: string) =>
    longest.includes(folder) ? longest.indexOf(folder) : longest.length;
  const folders = [...new Set(files.map((file) => file.split("/")[1]))];
  return folders.sort((a, b) => rank(a) - rank(b)).map((folder) => [...toDeno, `tests/${folder}`]);
}

/** Processes at a time: some tests look at the time, so that more would disturb them. */
const processes = new FewAtATime(Math.min(2, navigator.hardwareConcurrency), Infinity);

async function denoTests(
  toDeno: string[],
  toTests: string[],
  env: Record<string, string>,
): Promise<Totals> {
  const args = ["test", "-A", "--no-check", "--sanitize-ops", "--sanitize-resources", ...toDeno];
  if (toTests.length > 0) args.push("--", ...toTests);
  const { code, output } = await runAndWatch(Deno.execPath(), args, { cwd: root, env });
  const found = [
    ...output.matchAll(
      /(\d+) passed(?: \([^)]*\))? \| (\d+) failed(?: \([^)]*\))?(?: \| (\d+) ignored)?/g,
    ),
  ].at(-1);
  const totals = {
    passed: Number(found?.[1] ?? 0),
    failed: Number(found?.[2] ?? 0),
    ignored: Number(found?.[3] ?? 0),
  };
  // A file that does not even load counts as one failure.
  if (code !== 0 && totals.failed === 0) totals.failed += 1;
  return totals;
}

async function main(args: string[]): Promise<number> {
  const started = performance.now();
  const { install, rust, toDeno, toTests } = parse(args);
  const files = await testFiles();
  const { environment, adapter, native } = await prepare({
    name: "test-dependencies",
    entries: ["src/cli/main.ts", ...files],
    install,
    say: (line) => console.error(line),
  });
  console.error(`GPU: ${adapter ?? "none: tests that need an adapter will fail"}`);
  const stages: Totals[] = [];
  if (rust && native) stages.push(await rustTests());
  else if (rust) console.error("skipped: the Rust tests, because there is no cargo");
  const found = await Promise.all(
    shares(toDeno, files).map((own) =>
      processes.run("tests", () => denoTests(own, toTests, environment))
    ),
  );
  // A run in which nothing ran counts as one failure.
  if (found.every(({ passed, failed }) => passed + failed === 0)) found[0].failed += 1;
  stages.push(...found);
  const sum = (key: keyof Totals) => stages.reduce((total, stage) => total + stage[key], 0);
  const seconds = Math.round((performance.now() - started) / 1000);
  console.error(
    `tests: ${sum("passed")} passed, ${sum("failed")} failed, ${
      sum("ignored")
    } ignored (${seconds} s)`,
  );
  return sum("failed") === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
