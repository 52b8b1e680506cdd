/**
 * The command line: `sparrow COMMAND`. Results go to standard output, the rest to standard error; the exit code is 0
 * for success, 2 for wrong usage, and otherwise what the error table says.
 * @module
 */

import project from "../../deno.json" with { type: "json" };
import { exitCodeOf } from "../server/error_map.ts";
import { openPool } from "../server/open_pool.ts";
import type { CommandContext } from "./command.ts";
import { commands } from "./commands.ts";
import { commandHelp, overviewHelp } from "./help.ts";
import { nearest } from "./nearest.ts";
import { OutputClosed } from "./output_closed.ts";
import { Reporter } from "./reporter.ts";
import { systemTerminal } from "./terminal.ts";
import { UsageError } from "./usage_error.ts";

/** Runs the command line and resolves to its exit code. What `given` leaves out is the system's own. */
export async function main(
  args: readonly string[],
  given: Partial<Omit<CommandContext, "report" | "signal">> = {},
): Promise<number> {
  const terminal = given.terminal ?? systemTerminal;
  const report = new Reporter(terminal.err);
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) Deno.exit(130);
    stop.abort();
  };
  const signals = Deno.build.os === "windows"
    ? ["SIGINT"] as const
    : ["SIGINT", "SIGTERM"] as const;
  let listening = false;
  const listen = () => {
    for (const name of signals) Deno.addSignalListener(name, onSignal);
    listening = true;
  };
  try {
    return await dispatch([...args], {
      terminal,
      report,
      openPool: given.openPool ?? openPool,
      signal: stop.signal,
    }, listen);
  } catch (error) {
    // As a shell tells of a process that SIGPIPE ended.
    if (error instanceof OutputClosed) return 141;
    const wrongUsage = error instanceof UsageError;
    const message = error instanceof Error ? error.message : String(error);
    const hint = wrongUsage ? "\n`sparrow COMMAND --help` shows what there is." : "";
    report.event("error", `error: ${message}${hint}`, { message });
    return wrongUsage ? 2 : exitCodeOf(error);
  } finally {
    if (listening) { for (const name of signals) Deno.removeSignalListener(name, onSignal); }
  }
}

async function dispatch(
  args: string[],
  context: CommandContext,
  listen: () => void,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    context.terminal.out.write(overviewHelp(project.version, commands));
    return 0;
  }
  if (name === "--version") {
    context.terminal.out.write(`sparrow ${project.version}\n`);
    return 0;
  }
  const entry = commands.find((command) => command.name === name);
  if (entry === undefined) {
    const guess = nearest(name, commands.map((command) => command.name));
    throw new UsageError(
      `unknown command "${name}"${guess === undefined ? "" : `; did you mean ${guess}?`}`,
    );
  }
  const command = await entry.load();
  const beforeWords = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (!command.passThrough && beforeWords.some((arg) => arg === "--help" || arg === "-h")) {
    context.terminal.out.write(commandHelp(name, command));
    return 0;
  }
  if (!command.endsAtOnce) listen();
  return await command.run(rest, context);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
