import { UsageError } from "./usage_error.ts";

/** `value` of the flag `--name`, as it is when absent. Throws `UsageError` unless it is a whole number in range. */
export function wholeNumber(
  name: string,
  value: number | undefined,
  low: number,
  high = 1e9,
): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= low && value <= high)) {
    return value;
  }
  throw new UsageError(`--${name}: expected a whole number from ${low} to ${high}, got ${value}`);
}
