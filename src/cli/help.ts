import type { Command, CommandEntry } from "./command.ts";
import { type Flag, helpFlag } from "./flags.ts";

/** The text of `sparrow --help`. */
export function overviewHelp(version: string, commands: readonly CommandEntry[]): string {
  return [
    `sparrow ${version}: long-context language models and super-resolution on any GPU`,
    "",
    "Usage: sparrow COMMAND [FLAGS]",
    "",
    "Commands:",
    ...table(commands.map(({ name, summary }) => [name, summary])),
    "",
    "`sparrow COMMAND --help` shows a command's flags.",
    "",
  ].join("\n");
}

/** The text of `sparrow COMMAND --help`. */
export function commandHelp(name: string, command: Command): string {
  const lines = [`${command.about}`, "", `Usage: sparrow ${name} ${command.usage}`.trimEnd(), ""];
  lines.push("Flags:", ...table([...command.flags, helpFlag].map(flagRow)));
  if (command.examples !== undefined) {
    lines.push("", "Examples:", ...command.examples.map((line) => `  ${line}`));
  }
  return [...lines, ""].join("\n");
}

function flagRow(flag: Flag): [string, string] {
  const short = flag.short === undefined ? "" : `-${flag.short}, `;
  const value = flag.kind === "switch" ? "" : ` ${flag.value ?? "VALUE"}`;
  return [`${short}--${flag.name}${value}`, flag.help];
}

function table(rows: [string, string][]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
