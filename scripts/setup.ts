/**
 * Prepares the machine and, with `--then-serve`, runs the server: what `deno task start` and `deno task setup` do.
 * `--no-install` forbids installing system packages; every other flag goes to `sparrow serve`.
 * @module
 */

import { inProject, root } from "./setup/project.ts";
import { prepare } from "./setup/prepare.ts";
import { runChild } from "./setup/run_child.ts";

async function main(args: string[]): Promise<number> {
  const own = new Set(["--then-serve", "--no-install"]);
  const passed = args.filter((arg) => !own.has(arg));
  const serve = args.includes("--then-serve");
  if (serve && (passed.includes("--help") || passed.includes("-h"))) {
    return await server(passed, {});
  }
  const { environment, adapter, native } = await prepare({
    name: "dependencies",
    entries: ["src/cli/main.ts"],
    install: !args.includes("--no-install"),
    say: (line) => console.error(line),
  });
  if (adapter === undefined) return 1;
  if (serve) return await server(passed, environment);
  console.error(`Ready. GPU: ${adapter}. Rust library: ${native ? "yes" : "no"}.`);
  return 0;
}

function server(flags: string[], env: Record<string, string>): Promise<number> {
  const args = ["run", "-A", "--no-check", inProject("src", "cli", "main.ts"), "serve", ...flags];
  return runChild(Deno.execPath(), args, { cwd: root, env });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
