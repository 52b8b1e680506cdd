import { UsageError } from "./usage_error.ts";

/** `value` of the flag `--name`, as it is when absent. Throws `UsageError` unless it is in range. */
export function numberBetween(
  name: string,
  value: number | undefined,
  low: number,
  high = 1e9,
): number | undefined {
  if (value === undefined || (value >= low && value <= high)) return value;
  throw new UsageError(`--${name}: expected a number from ${low} to ${high}, got ${value}`);
}
