import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { ApiError } from "./api_error.ts";
import type { AppEnv } from "./context.ts";
import { unstalledBody } from "./unstalled_body.ts";

/**
 * Refuses bodies that are compressed with 415, those of more than `maxBytes` with 413, once they are read where they do not say their length, and
 * those of which nothing comes for `idleMs` milliseconds with 408. For paths in `streamed` there is no most, nor a time: they hold little at once.
 */
export function limitBody(
  { maxBytes, idleMs }: { maxBytes: number; idleMs: number },
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
    const coding = c.req.header("Content-Encoding") ?? "identity";
    if (coding.toLowerCase() !== "identity") {
      throw new ApiError(`Content-Encoding is ${coding}, expected a body that is not compressed`, {
        status: 415,
        type: "invalid_request_error",
        code: "unsupported_encoding",
      });
    }
    if (streamed.has(c.req.path)) return next();
    const { raw } = c.req;
    // A GET has none, and a WebSocket needs the request as it came.
    if (raw.body) c.req.raw = new Request(raw, { body: unstalledBody(raw.body, idleMs) });
    return limited(c, () => {
      // A body that is watched or was gathered comes in a request of its own, which does not know what Departures sees of the first.
      if (c.req.raw !== raw) {
        Object.defineProperty(c.req.raw, "signal", { configurable: true, get: () => raw.signal });
      }
      return next();
    });
  };
}
