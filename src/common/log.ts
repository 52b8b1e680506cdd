/**
 * The one place that writes log lines: plain text on a terminal, one JSON object a line elsewhere, always on
 * standard error so that standard output stays free for results.
 * @module
 */

import { withoutWaiting } from "./without_waiting.ts";

/** Severity, lowest first. */
type LogLevel = "info" | "warn" | "error";

let pipe: ((text: string) => void) | undefined;

/** From now on lines are lost that a full pipe has no room for: whoever reads what a server says, or does not, must not hold up its requests. */
export function logWithoutWaiting(): void {
  pipe ??= withoutWaiting(2);
}

/** Writes one line. `fields` are machine-readable details. A line that cannot be written, as on a full disk, is lost: what it tells of goes on. */
export function log(level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
  try {
    const line = logLine(level, message, fields);
    if (pipe) pipe(`${line}\n`);
    else console.error(line);
  } catch {
    // There is nowhere left to tell of it.
  }
}

/** The line that `log` writes, without its end. */
export function logLine(level: LogLevel, message: string, fields: Record<string, unknown>): string {
  if (!Deno.stderr.isTerminal()) {
    return JSON.stringify({ time: new Date().toISOString(), level, message, ...fields });
  }
  const tail = Object.entries(fields).map(([k, v]) =>
    ` ${k}=${typeof v === "string" ? v : JSON.stringify(v)}`
  );
  return `${level === "info" ? "" : level + ": "}${message}${tail.join("")}`;
}
