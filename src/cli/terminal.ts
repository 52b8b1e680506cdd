import { OutputClosed } from "./output_closed.ts";
import type { ReportTarget } from "./reporter.ts";

const encoder = new TextEncoder();

/** Where a command writes: results to `out`, everything about them to `err`. */
export interface Terminal {
  readonly out: ReportTarget;
  readonly err: ReportTarget;
}

/** The terminal that the process was started on. Writing to `out` throws `OutputClosed` once nobody reads it. */
export const systemTerminal: Terminal = {
  out: {
    write: (text) => {
      try {
        writeAll(Deno.stdout, text);
      } catch (error) {
        throw error instanceof Deno.errors.BrokenPipe ? new OutputClosed() : error;
      }
    },
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
