import { fromFileUrl } from "@std/path";
import type { Command, CommandContext } from "./command.ts";
import { UsageError } from "./usage_error.ts";

/** `sparrow bench`: the repository's benches, in a process of their own so that nothing else weighs on them. */
export const benchCommand: Command = {
  usage: "[NAME...] [FLAGS]",
  about: "Runs the benches of the repository.",
  flags: [],
  passThrough: true,
  run,
};

async function run(args: string[], { signal }: CommandContext): Promise<number> {
  const script = new URL("../../scripts/bench/main.ts", import.meta.url);
  if (script.protocol !== "file:") {
    throw new UsageError("the benches come with the repository, not with the package");
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", fromFileUrl(script), ...args],
    stdin: "null",
  }).spawn();
  signal.addEventListener("abort", () => child.kill("SIGTERM"));
  return (await child.status).code;
}
