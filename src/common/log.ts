/**
 * The one place that writes log lines: plain text on a terminal, one JSON object a line elsewhere, always on
 * standard error so that standard output stays free for results.
 * @module
 */

/** Severity, lowest first. */
type LogLevel = "info" | "warn" | "error";

/** Writes one line. `fields` are machine-readable details. */
export function log(level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
  if (Deno.stderr.isTerminal()) {
    const tail = Object.entries(fields).map(([k, v]) =>
      ` ${k}=${typeof v === "string" ? v : JSON.stringify(v)}`
    );
    console.error(`${level === "info" ? "" : level + ": "}${message}${tail.join("")}`);
  } else {
    console.error(JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }));
  }
}
