import { log } from "../common/log.ts";
import { ApiError, type ApiErrorBody } from "./api_error.ts";
import { fromAnyError } from "./error_map.ts";

/** What a client is told of an error that ends its stream. One that is the server's own fault goes to the log. */
export function streamError(error: unknown): ApiErrorBody {
  const known = fromAnyError(error);
  if (known !== undefined) return known.body().error;
  log("error", "a stream failed", { error: error instanceof Error ? error.stack : String(error) });
  return new ApiError("internal error; the server's log says more", {
    status: 500,
    type: "server_error",
    code: "internal",
  }).body().error;
}
