import { nativeProblem } from "../../ffi/load.ts";

/** Whether texts can be constrained here, which takes the native library. */
export function canConstrain(): boolean {
  return nativeProblem() === undefined;
}
