/**
 * The one table from error classes to HTTP answers and to exit codes of the command line.
 * @module
 */

import { ApiError } from "./api_error.ts";
import {
  CancelledError,
  CapacityError,
  ConstraintError,
  DeviceLostError,
  ModelFormatError,
  OutOfMemoryError,
} from "../common/errors.ts";

// deno-lint-ignore no-explicit-any -- a constructor of any signature
type ErrorClass = abstract new (...args: any[]) => Error;

interface ErrorRow {
  class: ErrorClass;
  status: number;
  type: string;
  code: string;
  /** Seconds until a retry makes sense; `CapacityError` brings its own. */
  retryAfterSeconds?: number;
  /** Exit code of the command line. */
  exit: number;
}

/** Classes that mean the same wherever they are thrown. */
const rows: readonly ErrorRow[] = [
  { class: CapacityError, status: 429, type: "rate_limit_error", code: "queue_full", exit: 5 },
  {
    class: DeviceLostError,
    status: 503,
    type: "server_error",
    code: "device_lost",
    retryAfterSeconds: 5,
    exit: 4,
  },
  {
    class: OutOfMemoryError,
    status: 503,
    type: "server_error",
    code: "out_of_memory",
    retryAfterSeconds: 5,
    exit: 4,
  },
  {
    class: CancelledError,
    status: 503,
    type: "server_error",
    code: "cancelled",
    retryAfterSeconds: 5,
    exit: 130,
  },
  {
    class: ConstraintError,
    status: 400,
    type: "invalid_request_error",
    code: "invalid_constraint",
    exit: 2,
  },
  { class: ModelFormatError, status: 500, type: "server_error", code: "model_format", exit: 3 },
];

/** Built-in classes, which blame the request only where the engine threw them about it. */
const engineRows: readonly Omit<ErrorRow, "exit">[] = [
  {
    class: RangeError,
    status: 400,
    type: "invalid_request_error",
    code: "context_length_exceeded",
  },
  {
    class: TypeError,
    status: 400,
    type: "invalid_request_error",
    code: "invalid_prompt",
  },
  {
    class: SyntaxError,
    status: 400,
    type: "invalid_request_error",
    code: "invalid_prompt",
  },
];

function toApiError(error: Error, row: Omit<ErrorRow, "exit">, param?: string): ApiError {
  return new ApiError(error.message, {
    ...row,
    param,
    retryAfterSeconds: error instanceof CapacityError
      ? error.retryAfterSeconds
      : row.retryAfterSeconds,
    cause: error,
  });
}

/** The fields of a request that an engine may find at fault. */
export interface BlamedFields {
  /** The field with the prompt. */
  prompt?: string;
  /** The field with the constraint. */
  constraint?: string;
}

/** An error thrown by an engine about one request, as a client sees it. */
export function fromEngineError(error: unknown, fields: BlamedFields = {}): unknown {
  if (error instanceof ApiError) return error;
  const row = rows.find((r) => error instanceof r.class);
  const constrained = error instanceof ConstraintError ? fields.constraint : undefined;
  if (row !== undefined) return toApiError(error as Error, row, constrained);
  const blame = engineRows.find((r) => error instanceof r.class);
  return blame === undefined ? error : toApiError(error as Error, blame, fields.prompt);
}

/** Any error, as a client sees it; undefined when it is the server's own fault and its text is for the log only. */
export function fromAnyError(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  const row = rows.find((r) => error instanceof r.class);
  return row === undefined ? undefined : toApiError(error as Error, row);
}

/** Whether an error that an engine threw about one request is that request's own fault. */
export function blamesRequest(error: unknown): boolean {
  return engineRows.some((r) => error instanceof r.class);
}

/** The command line's exit code for an error: 0 never, 1 for the unforeseen, 2 for wrong usage. */
export function exitCodeOf(error: unknown): number {
  return rows.find((r) => error instanceof r.class)?.exit ?? 1;
}
