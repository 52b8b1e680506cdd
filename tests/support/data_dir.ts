/**
 * The folder of real material given after `--` (`deno test … -- --data DIR`); undefined when there is none, and then
 * prints why `what` is skipped.
 */
export function dataDir(what: string): string | undefined {
  const at = Deno.args.findIndex((arg) => arg === "--data" || arg.startsWith("--data="));
  const dir = at < 0 ? undefined : Deno.args[at].slice("--data=".length) || Deno.args[at + 1];
  if (!dir) console.log(`skipped: ${what} needs --data DIR`);
  return dir || undefined;
}
