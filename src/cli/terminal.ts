import type { ReportTarget } from "./reporter.ts";

const encoder = new TextEncoder();

/** Where a command writes: results to `out`, everything about them to `err`. */
export interface Terminal {
  readonly out: ReportTarget;
  readonly err: ReportTarget;
}

/** The terminal that the process was started on. */
export const systemTerminal: Terminal = {
  out: {
    write: (text) => writeAll(Deno.stdout, text),
    isInteractive: Deno.stdout.isTerminal(),
  },
  err: {
    write: (text) => writeAll(Deno.stderr, text),
    isInteractive: Deno.stderr.isTerminal(),
  },
};

function writeAll(to: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}
