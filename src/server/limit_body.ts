import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { ApiError } from "./api_error.ts";
import type { AppEnv } from "./context.ts";

/** Refuses bodies of more than `maxBytes` with 413, those that do not say their length once they are read, but for paths in `streamed`. */
export function limitBody(
  maxBytes: number,
  streamed: ReadonlySet<string>,
): MiddlewareHandler<AppEnv> {
  const limited = bodyLimit({
    maxSize: maxBytes,
    onError: () => {
      throw new ApiError(`body: expected at most ${maxBytes} bytes, got more`, {
        status: 413,
        type: "invalid_request_error",
        code: "body_too_large",
      });
    },
  });
  return (c, next) => {
    if (streamed.has(c.req.path)) return next();
    const { raw } = c.req;
    return limited(c, () => {
      // A body that was gathered comes in a request of its own, which does not know what Departures sees of the first.
      if (c.req.raw !== raw) {
        Object.defineProperty(c.req.raw, "signal", { configurable: true, get: () => raw.signal });
      }
      return next();
    });
  };
}
