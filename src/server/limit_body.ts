import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { ApiError } from "./api_error.ts";
import type { AppEnv } from "./context.ts";
import { unstalledBody } from "./unstalled_body.ts";
import { utf8Text } from "./utf8_text.ts";

/**
 * Refuses bodies that are compressed with 415, those of more than `maxBytes` with 413, once they are read where they do not say their length, and
 * those of which nothing comes for `idleMs` milliseconds with 408. For paths in `streamed` there is no most, nor a time: they hold little at once.
 * What routes read as text, which is to say JSON, is refused as `utf8Text` does.
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
      const given = c.req.raw;
      if (given !== raw) {
        Object.defineProperty(given, "signal", { configurable: true, get: () => raw.signal });
        const type = raw.headers.get("Content-Type");
        Object.defineProperty(given, "text", {
          configurable: true,
          value: async () => utf8Text(await given.arrayBuffer(), type),
        });
      }
      return next();
    });
  };
}
