import { ApiError } from "./api_error.ts";

/** `setTimeout` fires at once for more. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * A body that fails with 408 when its reader has waited `idleMs` milliseconds for a byte, and lets go of the connection: what was gathered of it
 * would be held for as long as the client likes. However slowly it comes, a body that goes on is left alone, and so is one that nobody reads.
 */
export function unstalledBody(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  idleMs: number,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  let bytes = 0;
  return new ReadableStream({
    async pull(controller) {
      const stalled = Promise.withResolvers<never>();
      const timer = setTimeout(
        () => stalled.reject(stalledError(bytes, idleMs)),
        Math.min(idleMs, longestTimerMs),
      );
      try {
        const { done, value } = await Promise.race([reader.read(), stalled.promise]);
        if (done) return controller.close();
        bytes += value.length;
        controller.enqueue(value);
      } catch (error) {
        reader.cancel(error).catch(() => {});
        throw error;
      } finally {
        clearTimeout(timer);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

/** What a client is told whose body stopped after so many bytes. */
export function stalledError(bytes: number, idleMs: number): ApiError {
  return new ApiError(
    `body: nothing came for ${idleMs / 1000} s after ${bytes} bytes, expected the rest of it`,
    { status: 408, type: "invalid_request_error", code: "body_stalled" },
  );
}
