import { ApiError } from "./api_error.ts";
import type { GenerationDesk } from "./generation_desk.ts";
import { eventStreamResponse, sseData } from "./sse.ts";
import type {
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  GenerateUsage,
  Generation,
} from "../engine/types.ts";

/** How a surface writes a generation on the wire. */
export interface WireShape {
  /** The first event of a stream, if it has one before the text. */
  opening?(): unknown;
  delta(text: string): unknown;
  end(reason: "stop" | "length"): unknown;
  /** The event after the end that carries the counts. */
  usage(usage: GenerateUsage): unknown;
  /** The answer without a stream. */
  whole(text: string, reason: "stop" | "length", usage: GenerateUsage): unknown;
}

/** How to answer. */
export interface AnswerOptions {
  stream: boolean;
  includeUsage: boolean;
  /** Fires when the client leaves before the answer's headers. */
  signal: AbortSignal;
  pingMs: number;
  acceptMs: number;
}

/**
 * Runs a generation and answers with its text, whole or as server-sent events. A client that leaves cancels it.
 * Throws `ApiError`.
 */
export async function answerGeneration(
  desk: GenerationDesk,
  request: GenerateRequest,
  shape: WireShape,
  options: AnswerOptions,
): Promise<Response> {
  const generation = desk.submit(request);
  const leave = () => generation.cancel();
  options.signal.addEventListener("abort", leave);
  if (options.signal.aborted) leave();
  try {
    if (!options.stream) return Response.json(await collect(generation, shape));
    const events = await accepted(generation, options.acceptMs);
    return eventStreamResponse(writeEvents(events, shape, options.includeUsage), {
      pingMs: options.pingMs,
      onLeave: leave,
    });
  } catch (error) {
    // No one reads this answer; its status, nginx's own, keeps it apart from failures in the metrics.
    if (!options.signal.aborted) throw error;
    throw new ApiError("the client left", { status: 499, type: "invalid_request_error" });
  } finally {
    options.signal.removeEventListener("abort", leave);
  }
}

async function collect(generation: Generation, shape: WireShape): Promise<unknown> {
  const texts: string[] = [];
  for await (const event of generation) {
    if (event.type === "delta") texts.push(event.text);
    if (event.type === "finished") {
      return shape.whole(texts.join(""), notCancelled(event.reason), event.usage);
    }
  }
  throw new Error(`generation ${generation.id} ended without its "finished" event`);
}

async function* writeEvents(
  events: AsyncIterable<GenerateEvent>,
  shape: WireShape,
  includeUsage: boolean,
): AsyncGenerator<string> {
  const opening = shape.opening?.();
  if (opening !== undefined) yield sseData(opening);
  for await (const event of events) {
    // A token inside a code point has no text yet.
    if (event.type === "delta" && event.text !== "") yield sseData(shape.delta(event.text));
    if (event.type === "finished") {
      yield sseData(shape.end(notCancelled(event.reason)));
      if (includeUsage) yield sseData(shape.usage(event.usage));
    }
  }
  yield "data: [DONE]\n\n";
}

/**
 * The events of a generation, after its first one or `waitMs`, so that a request the engine refuses gets a status and
 * one that queues for long still gets its headers. Throws what the first event throws.
 */
async function accepted(
  generation: Generation,
  waitMs: number,
): Promise<AsyncIterable<GenerateEvent>> {
  const iterator = generation[Symbol.asyncIterator]();
  const first = iterator.next();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, waitMs));
  try {
    await Promise.race([first, late]);
  } finally {
    clearTimeout(timer);
  }
  // A failure after the wait is thrown to the reader below; without one it must not be an unhandled rejection.
  first.catch(() => undefined);
  return {
    async *[Symbol.asyncIterator]() {
      try {
        for (let step = await first; !step.done; step = await iterator.next()) yield step.value;
      } finally {
        await iterator.return?.();
      }
    },
  };
}

function notCancelled(reason: FinishReason): "stop" | "length" {
  if (reason !== "cancelled") return reason;
  throw new ApiError("the generation was cancelled because the server is shutting down", {
    status: 503,
    type: "server_error",
    code: "cancelled",
    retryAfterSeconds: 5,
  });
}
