import { resolve } from "@std/path";
import { log } from "../common/log.ts";

/** Where clients' functions run: of the server's surroundings they see nothing. */
export const pythonPlace = {
  cwd: "/",
  clearEnv: true,
  env: { PATH: "/usr/local/bin:/usr/bin:/bin", PYTHONHASHSEED: "0" },
} as const;

let isolation: Promise<string[]> | undefined;

/** The command that starts the interpreter `python`, a file or a name on the path, without the network where the system grants that. */
export async function pythonCommand(python: string): Promise<string[]> {
  isolation ??= findIsolation();
  const file = python.includes("/") ? resolve(python) : python;
  return [...await isolation, file];
}

/** The command that takes the network away; empty where the system does not let it. */
async function findIsolation(): Promise<string[]> {
  for (const flags of [["-n"], ["-r", "-n"]]) {
    try {
      const { success } = await new Deno.Command("unshare", {
        args: [...flags, "true"],
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return ["unshare", ...flags];
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  log("warn", "native functions run without a network namespace: unshare is not available");
  return [];
}
