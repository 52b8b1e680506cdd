import { ApiError } from "./api_error.ts";

/** The server cannot take a request now (503), but may in so many seconds. */
export function unavailable(
  message: string,
  code: string,
  retryAfterSeconds: number,
  cause?: unknown,
): ApiError {
  return new ApiError(message, {
    status: 503,
    type: "server_error",
    code,
    retryAfterSeconds,
    cause,
  });
}
