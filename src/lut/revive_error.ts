import { ModelFormatError } from "../common/errors.ts";

/** The error that a worker told of, of its class where that is one that callers tell apart. */
export function reviveError(name: string, message: string): Error {
  switch (name) {
    case "ModelFormatError":
      return new ModelFormatError(message);
    case "RangeError":
      return new RangeError(message);
    default:
      return new Error(message);
  }
}
