/** Signals that end a server politely, where the system has them. */
const signals: Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/**
 * Runs a program in the foreground with our own terminal, passes signals on, and returns its exit code (128 + n when
 * signal n ended it).
 */
export async function runChild(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<number> {
  const child = new Deno.Command(program, {
    args,
    ...options,
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  })
    .spawn();
  const listeners = signals.map((signal) => {
    const forward = () => {
      // A terminal sends Ctrl-C to the whole group: passing it on would look like a second, impatient one.
      if (signal === "SIGINT" && Deno.stdin.isTerminal()) return;
      try {
        child.kill(signal);
      } catch (error) {
        // The child is gone already; its status arrives below.
        if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
      }
    };
    Deno.addSignalListener(signal, forward);
    return () => Deno.removeSignalListener(signal, forward);
  });
  try {
    return (await child.status).code;
  } finally {
    for (const remove of listeners) remove();
  }
}
