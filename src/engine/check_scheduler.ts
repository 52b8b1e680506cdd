import type { SchedulerOptions } from "./scheduler_options.ts";

const counts = ["maxWaiting", "mixedStepTokens", "latencyRows", "overdueShare"] as const;

/** Throws `RangeError` for a count that is no positive integer (`Infinity` is no limit) or a patience below 0; absent ones have defaults. */
export function checkScheduler(options: Partial<SchedulerOptions> = {}): void {
  for (const name of counts) {
    const value = options[name];
    if (value !== undefined && !(value > 0 && (Number.isInteger(value) || value === Infinity))) {
      throw new RangeError(`open an engine: ${name} is ${value}, expected a positive integer`);
    }
  }
  const { patienceMs } = options;
  if (patienceMs !== undefined && !(patienceMs >= 0)) {
    throw new RangeError(
      `open an engine: patienceMs is ${patienceMs}, expected milliseconds of at least 0`,
    );
  }
}
