import { streamError } from "./stream_error.ts";

/** How an event stream behaves. */
export interface EventStreamOptions {
  /** Milliseconds of silence after which a comment keeps the connection open. */
  pingMs: number;
  /** Called once if the client leaves before the end. */
  onLeave(): void;
}

const encoder = new TextEncoder();

/** One server-sent event whose data is `value` as JSON. */
export function sseData(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/**
 * An answer that sends `events` as they come, at the pace the client reads. An error becomes a last event in OpenAI's
 * shape. A client that leaves ends the iteration.
 */
export function eventStreamResponse(
  events: AsyncIterable<string>,
  options: EventStreamOptions,
): Response {
  const iterator = events[Symbol.asyncIterator]();
  let lastWrite = performance.now();
  let timer: ReturnType<typeof setInterval> | undefined;
  let left = false;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => {
        const silent = performance.now() - lastWrite >= options.pingMs;
        // A client that does not read gets no comments either: they would pile up.
        if (silent && (controller.desiredSize ?? 0) >= 0) {
          lastWrite = performance.now();
          controller.enqueue(encoder.encode(": ping\n\n"));
        }
      }, options.pingMs / 4);
    },
    async pull(controller) {
      let text: string | undefined;
      let last = false;
      try {
        const step = await iterator.next();
        if (step.done) last = true;
        else text = step.value;
      } catch (error) {
        last = true;
        text = sseData({ error: streamError(error) });
      }
      if (left) return;
      lastWrite = performance.now();
      if (text !== undefined) controller.enqueue(encoder.encode(text));
      if (last) {
        clearInterval(timer);
        controller.close();
      }
    },
    async cancel() {
      left = true;
      clearInterval(timer);
      options.onLeave();
      await iterator.return?.();
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: {
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-cache",
      // Tells nginx not to collect the stream.
      "X-Accel-Buffering": "no",
    },
  });
}
