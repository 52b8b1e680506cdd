import type { LutScale } from "../lut/model_file.ts";
import { UsageError } from "./usage_error.ts";

/** The value of `--scale`, 4 when absent. Throws `UsageError` unless it is 2, 3 or 4. */
export function readScale(given: number | undefined): LutScale {
  if (given === undefined || given === 4) return 4;
  if (given === 2 || given === 3) return given;
  throw new UsageError(`--scale is ${given}, expected 2, 3 or 4`);
}
