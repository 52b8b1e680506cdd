/**
 * The one place that writes log lines: plain text on a terminal, one JSON object a line elsewhere, always on
 * standard error so that standard output stays free for results.
 * @module
 */

/** Severity, lowest first. */
type LogLevel = "info" | "warn" | "error";

/** Writes one line. `fields` are machine-readable details. A line that cannot be written, as on a full disk, is lost: what it tells of goes on. */
export function log(level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
  try {
    console.error(logLine(level, message, fields));
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
