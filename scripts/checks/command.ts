import { root } from "../setup/project.ts";
import { runQuietly } from "../setup/run_quietly.ts";
import type { Check } from "./check.ts";

/** A check that is a command: it passes with exit code 0, and its output is the problem otherwise. */
export function command(
  name: string,
  program: string,
  args: string[],
  env: Record<string, string> = {},
): Check {
  return {
    name,
    async run() {
      const { code, stdout, stderr } = await runQuietly(program, args, {
        cwd: root,
        env: { NO_COLOR: "1", ...env },
      });
      if (code === 0) return { summary: "", problems: [] };
      // Deno's progress ("Check file") is not what went wrong.
      const lines = `${stdout}\n${stderr}`.trim().split("\n").filter((line) =>
        !/^Check /.test(line)
      );
      const output = lines.slice(-60).join("\n");
      return { summary: "", problems: [`${program} ${args.join(" ")} (exit ${code})\n${output}`] };
    },
  };
}
