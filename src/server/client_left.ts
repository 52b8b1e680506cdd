import { ApiError } from "./api_error.ts";

/** No one reads this answer; its status, nginx's own, keeps it apart from failures in the metrics. */
export function clientLeft(): ApiError {
  return new ApiError("the client left", { status: 499, type: "invalid_request_error" });
}
