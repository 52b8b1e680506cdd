import type { ScoredToken } from "../engine/types.ts";
import type { AnswerPiece, WholeAnswer, WireShape } from "./generation_answer.ts";
import { type AnswerPart, type SplitterOptions, ToolCallSplitter } from "./tool_call_splitter.ts";
import { wireId } from "./wire_id.ts";
import { chatLogprobs } from "./wire_logprobs.ts";
import { wireUsage } from "./wire_usage.ts";

type Delta = Record<string, unknown>;

/** How chats are answered: OpenAI's `chat.completion`. `splitter`: how calls of tools are found, where there may be some. */
export function chatShape(id: string, model: string, splitter?: SplitterOptions): WireShape {
  const head = { id, created: Math.floor(Date.now() / 1000), model };
  const chunk = (
    index: number,
    delta: Delta,
    finish_reason: string | null,
    logprobs?: AnswerPiece["logprobs"],
  ) => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{
      index,
      delta,
      logprobs: logprobs?.length ? chatLogprobs(logprobs) : null,
      finish_reason,
    }],
  });
  const streams = new Map<number, StreamedCalls>();
  const streamOf = (index: number, options: SplitterOptions): StreamedCalls => {
    const stream = streams.get(index) ?? new StreamedCalls(options);
    streams.set(index, stream);
    return stream;
  };
  return {
    opening: (index) => [
      chunk(index, { role: "assistant", content: splitter ? null : "" }, null),
    ],
    delta: (piece, index) => {
      if (!splitter) return [chunk(index, { content: piece.text }, null, piece.logprobs)];
      const stream = streamOf(index, splitter);
      return stream.push(piece).map(({ delta, logprobs }) => chunk(index, delta, null, logprobs));
    },
    end: (reason, index) => {
      if (!splitter) return [chunk(index, {}, reason)];
      const stream = streamOf(index, splitter);
      const rest = stream.finish().map((delta) => chunk(index, delta, null));
      return [...rest, chunk(index, {}, stream.reason(reason), stream.logprobs)];
    },
    usage: (usage) => ({
      ...head,
      object: "chat.completion.chunk",
      choices: [],
      ...wireUsage(usage),
    }),
    whole: (answers, usage) => ({
      ...head,
      object: "chat.completion",
      choices: answers.map((answer, index) => ({
        index,
        ...toMessage(answer, splitter),
        logprobs: answer.logprobs ? chatLogprobs(answer.logprobs) : null,
      })),
      ...wireUsage(usage),
    }),
  };
}

function toMessage({ text, reason }: WholeAnswer, options?: SplitterOptions) {
  const role = "assistant";
  if (!options) return { message: { role, content: text, refusal: null }, finish_reason: reason };
  const splitter = new ToolCallSplitter(options);
  let content = "";
  const tool_calls: { id: string; type: string; function: { name: string; arguments: string } }[] =
    [];
  for (const part of [...splitter.push(text), ...splitter.finish()]) {
    if (part.type === "content") content += part.text;
    else if (part.type === "call") {
      const call = { name: part.name, arguments: "" };
      tool_calls.push({ id: wireId("call"), type: "function", function: call });
    } else tool_calls.at(-1)!.function.arguments += part.text;
  }
  const called = tool_calls.length > 0;
  return {
    message: {
      role,
      content: called && content === "" ? null : content,
      refusal: null,
      ...(called && { tool_calls }),
    },
    finish_reason: ended(reason, splitter),
  };
}

/** The calls of one choice, as a stream tells of them. */
class StreamedCalls {
  readonly #splitter: ToolCallSplitter;
  #calls = 0;
  /** Of tokens that nothing was shown for yet. */
  #logprobs: ScoredToken[] = [];

  constructor(options: SplitterOptions) {
    this.#splitter = new ToolCallSplitter(options);
  }

  /** Log probabilities that came with nothing to show. */
  get logprobs(): readonly ScoredToken[] {
    return this.#logprobs;
  }

  push(piece: AnswerPiece): { delta: Delta; logprobs?: readonly ScoredToken[] }[] {
    this.#logprobs.push(...piece.logprobs ?? []);
    return this.#splitter.push(piece.text).map((part) => {
      const logprobs = this.#logprobs;
      this.#logprobs = [];
      return { delta: this.#delta(part), logprobs };
    });
  }

  finish(): Delta[] {
    return this.#splitter.finish().map((part) => this.#delta(part));
  }

  reason(reason: "stop" | "length"): string {
    return ended(reason, this.#splitter);
  }

  #delta(part: AnswerPart): Delta {
    if (part.type === "content") return { content: part.text };
    if (part.type === "call") {
      const call = { name: part.name, arguments: "" };
      const index = this.#calls++;
      return { tool_calls: [{ index, id: wireId("call"), type: "function", function: call }] };
    }
    return { tool_calls: [{ index: this.#calls - 1, function: { arguments: part.text } }] };
  }
}

function ended(reason: "stop" | "length", splitter: ToolCallSplitter): string {
  return reason === "stop" && splitter.complete ? "tool_calls" : reason;
}
