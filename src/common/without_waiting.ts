// deno-lint-ignore no-external-import -- built into Deno, whose own API opens no file this way
import { constants, fstatSync, openSync, writeSync } from "node:fs";

/**
 * Writes texts to standard output (1) or standard error (2) where that is a pipe, without waiting for its reader: what it has no room for is
 * lost, and the write throws. Undefined where it is no pipe, or cannot be opened anew (not Linux, another user's).
 */
export function withoutWaiting(descriptor: 1 | 2): ((text: string) => void) | undefined {
  if (Deno.build.os !== "linux") return undefined;
  let pipe: number;
  try {
    if (!fstatSync(descriptor).isFIFO()) return undefined;
    // A description of its own: others that write to the pipe, a shell maybe, wait as before.
    pipe = openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  const encoder = new TextEncoder();
  let torn = false;
  return (text) => {
    const bytes = encoder.encode(torn ? `\n${text}` : text);
    torn = writeSync(pipe, bytes) < bytes.length;
  };
}
