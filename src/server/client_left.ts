import { ApiError } from "./api_error.ts";

/** No one reads this answer; its status, nginx's own, keeps it apart from failures in the metrics. */
export function clientLeft(): ApiError {
  return new ApiError("the client left", { status: 499, type: "invalid_request_error" });
}

/**
 * Whether reading a request's body failed with this because its connection ended. Deno (2.9) tells of that before the request's signal does, where
 * that one does at all, as `BadResource` or, after a reset, as `Http`, in several wordings.
 */
export function bodyEnded(error: unknown): boolean {
  if (!(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Http)) {
    return false;
  }
  return /\bbody\b/.test(error.message);
}
