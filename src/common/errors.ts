/**
 * The few error classes that a caller can act upon; everything else is the nearest built-in class
 * (`TypeError`, `RangeError`, `SyntaxError`). Messages say what was attempted, the value met and the value expected.
 * @module
 */

/** The GPU device was lost (driver fault, removal, host crash): retry after the engine has reopened it. */
export class DeviceLostError extends Error {
  /** The class name, which survives the way between processes. */
  override readonly name = "DeviceLostError";
}

/** Memory (GPU buffer cap, KV pages) is exhausted: ask for less, or free something. */
export class OutOfMemoryError extends Error {
  /** The class name, which survives the way between processes. */
  override readonly name = "OutOfMemoryError";
}

/** The work was cancelled by its owner: not a fault. */
export class CancelledError extends Error {
  /** The class name, which survives the way between processes. */
  override readonly name = "CancelledError";
}

/** A model, tensor or media file breaks its format: names file, field, value met and value expected. */
export class ModelFormatError extends Error {
  /** The class name, which survives the way between processes. */
  override readonly name = "ModelFormatError";
}

/** What a text is to be (`TextConstraint`) cannot be kept: names the part at fault and what is expected. */
export class ConstraintError extends Error {
  /** The class name, which survives the way between processes. */
  override readonly name = "ConstraintError";
}

/** A queue or pool is full: try again after `retryAfterSeconds`. */
export class CapacityError extends Error {
  /** The class name, which survives the way between processes. */
  override readonly name = "CapacityError";
  /** Seconds after which a retry is likely to be accepted. */
  readonly retryAfterSeconds: number;
  /** A message and when to try again. */
  constructor(message: string, retryAfterSeconds = 1) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
