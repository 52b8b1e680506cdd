import { ApiError, type ApiErrorBody } from "./api_error.ts";
import { sumUsage } from "./choices.ts";
import type { BlamedFields } from "./error_map.ts";
import { clientLeft } from "./client_left.ts";
import type { GenerationDesk } from "./generation_desk.ts";
import { mergeStreams } from "./merge_streams.ts";
import { eventStreamResponse, sseData } from "./sse.ts";
import { streamError } from "./stream_error.ts";
import type {
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  GenerateUsage,
  Generation,
  ScoredToken,
} from "../engine/types.ts";

/** How a surface writes generations on the wire, one choice each. */
export interface WireShape {
  /** The events of a stream before the text. */
  opening?(choice: number): unknown[];
  /** The events that a piece makes, perhaps none. */
  delta(piece: AnswerPiece, choice: number): unknown[];
  /** The last events of a choice. `end`: the end token that ended the text, where log probabilities are asked for. */
  end(reason: "stop" | "length", choice: number, end?: ScoredToken): unknown[];
  /** The event after the end that carries the counts. */
  usage(usage: GenerateUsage): unknown;
  /** The answer without a stream. */
  whole(answers: readonly WholeAnswer[], usage: GenerateUsage): unknown;
  /** How an event is written, where that is not as its data alone, with `[DONE]` after the last. */
  written?(event: unknown): string;
  /** The last event of a stream that failed, where that is not OpenAI's error body. */
  failed?(error: ApiErrorBody): unknown;
}

/** Some of what a generation puts out, of its prompt if that is echoed. */
export interface AnswerPiece {
  text: string;
  /** The tokens of the text, where log probabilities are asked for. */
  logprobs?: readonly ScoredToken[];
}

/** What one generation put out. */
export interface WholeAnswer extends AnswerPiece {
  /** As it came. */
  pieces: readonly AnswerPiece[];
  reason: "stop" | "length";
  end?: ScoredToken;
}

/** How to answer. */
export interface AnswerOptions {
  stream: boolean;
  includeUsage: boolean;
  /** Choices of each prompt, `n`; they stand side by side among the requests. */
  choicesPerPrompt: number;
  /** The fields that parts of the requests came in, for refusals. */
  blamed?: BlamedFields;
  /** Fires when the client leaves before the answer's headers. */
  signal: AbortSignal;
  pingMs: number;
  acceptMs: number;
}

/**
 * Runs generations side by side and answers with their texts, whole or as server-sent events. A client that leaves
 * cancels them all; so does the failure of one. Throws `ApiError`.
 */
export async function answerGenerations(
  desk: GenerationDesk,
  requests: readonly GenerateRequest[],
  shape: WireShape,
  options: AnswerOptions,
): Promise<Response> {
  const generations: Generation[] = [];
  const leave = () => {
    for (const generation of generations) generation.cancel();
  };
  options.signal.addEventListener("abort", leave);
  try {
    for (const request of requests) generations.push(desk.submit(request, options.blamed));
    if (options.signal.aborted) leave();
    if (!options.stream) return Response.json(await collect(generations, requests, shape, options));
    const streams = await Promise.all(
      generations.map((generation) => accepted(generation, options.acceptMs)),
    );
    return eventStreamResponse(writeEvents(streams, shape, options, leave), {
      pingMs: options.pingMs,
      onLeave: leave,
    });
  } catch (error) {
    leave();
    throw options.signal.aborted ? clientLeft() : error;
  } finally {
    options.signal.removeEventListener("abort", leave);
  }
}

async function collect(
  generations: readonly Generation[],
  requests: readonly GenerateRequest[],
  shape: WireShape,
  { choicesPerPrompt }: AnswerOptions,
): Promise<unknown> {
  const answers = await Promise.all(generations.map(async (generation, index) => {
    const pieces: AnswerPiece[] = [];
    for await (const event of generation) {
      if (event.type === "delta" || event.type === "prompt") pieces.push(event);
      if (event.type === "finished") {
        const { usage, end } = event;
        const reason = notCancelled(event.reason);
        const text = pieces.map((piece) => piece.text).join("");
        const scored = requests[index].logprobs !== undefined;
        const logprobs = scored ? pieces.flatMap((piece) => piece.logprobs ?? []) : undefined;
        return { text, pieces, logprobs, reason, usage, end };
      }
    }
    throw new Error(`generation ${generation.id} ended without its "finished" event`);
  }));
  return shape.whole(answers, sumUsage(answers.map(({ usage }) => usage), choicesPerPrompt));
}

async function* writeEvents(
  streams: readonly AsyncIterable<GenerateEvent>[],
  shape: WireShape,
  { includeUsage, choicesPerPrompt }: AnswerOptions,
  cancel: () => void,
): AsyncGenerator<string> {
  const write = shape.written ?? sseData;
  for (const choice of streams.keys()) {
    for (const data of shape.opening?.(choice) ?? []) yield write(data);
  }
  const usages: GenerateUsage[] = [];
  try {
    for await (const [event, choice] of mergeStreams(streams)) {
      if (event.type === "reading") {
        yield `: read ${event.tokens} of ${event.promptTokens} tokens\n\n`;
      }
      // A token inside a code point has no text yet, and a control token never.
      const piece = event.type === "delta" || event.type === "prompt" ? event : undefined;
      if (piece && (piece.text !== "" || piece.logprobs?.length)) {
        for (const data of shape.delta(piece, choice)) yield write(data);
      }
      if (event.type === "finished") {
        const events = shape.end(notCancelled(event.reason), choice, event.end);
        for (const data of events) yield write(data);
        usages[choice] = event.usage;
      }
    }
  } catch (error) {
    cancel();
    if (!shape.failed) throw error;
    yield write(shape.failed(streamError(error)));
    return;
  }
  if (includeUsage) yield write(shape.usage(sumUsage(usages, choicesPerPrompt)));
  if (!shape.written) yield "data: [DONE]\n\n";
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

/** Why a generation ended; throws `ApiError` 503 where it was because the server stops. */
export function notCancelled(reason: FinishReason): "stop" | "length" {
  if (reason !== "cancelled") return reason;
  throw new ApiError("the generation was cancelled because the server is shutting down", {
    status: 503,
    type: "server_error",
    code: "cancelled",
    retryAfterSeconds: 5,
  });
}
