import { logLine } from "../common/log.ts";

/**
 * What an answer's body fails with when it has to be cut off, so that its client sees a failure. Deno (2.9) prints it to standard error where
 * the answer is still being sent: as a line of the log, not as a trace of several.
 */
export class CutAnswer extends Error {
  override readonly name = "CutAnswer";

  constructor(cause: unknown) {
    super("the answer was cut off", { cause });
  }

  [Symbol.for("Deno.customInspect")](): string {
    const { cause } = this;
    return logLine("warn", this.message, {
      error: cause instanceof Error ? cause.message : String(cause),
    });
  }
}
