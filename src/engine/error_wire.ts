import {
  CancelledError,
  CapacityError,
  ConstraintError,
  DeviceLostError,
  ModelFormatError,
  OutOfMemoryError,
} from "../common/errors.ts";

/** An error on its way between processes. */
export interface ErrorWire {
  name: string;
  message: string;
  retryAfterSeconds?: number;
}

/** Classes that callers tell apart; any other arrives as `Error`. */
const classes: Record<string, new (message: string) => Error> = {
  CancelledError,
  CapacityError,
  ConstraintError,
  DeviceLostError,
  ModelFormatError,
  OutOfMemoryError,
  RangeError,
  SyntaxError,
  TypeError,
  NotFound: Deno.errors.NotFound,
};

/** What crosses the boundary of an error: class name and message, no stack. */
export function toErrorWire(error: unknown): ErrorWire {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message } = error;
  return error instanceof CapacityError
    ? { name, message, retryAfterSeconds: error.retryAfterSeconds }
    : { name, message };
}

/** The error that `wire` describes, of the same class where the class is known. */
export function fromErrorWire(wire: ErrorWire): Error {
  if (wire.name === "CapacityError") return new CapacityError(wire.message, wire.retryAfterSeconds);
  const known = Object.hasOwn(classes, wire.name) ? classes[wire.name] : undefined;
  return known ? new known(wire.message) : new Error(wire.message);
}
