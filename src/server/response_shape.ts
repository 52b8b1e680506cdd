import type { GenerateUsage } from "../engine/types.ts";
import type { ApiErrorBody } from "./api_error.ts";
import type { WireShape } from "./generation_answer.ts";
import { ResponseOutput } from "./response_output.ts";
import type { ResponseObject, ResponseRequest } from "./responses_schema.ts";
import { sseData } from "./sse.ts";
import type { SplitterOptions } from "./tool_call_splitter.ts";
import { wireUsage } from "./wire_usage.ts";

/** What a response is made of beside what is generated. */
export interface ResponseHead {
  id: string;
  model: string;
  body: ResponseRequest;
  /** How calls of tools are found, where there may be some. */
  splitter?: SplitterOptions;
  /** Called with the response before it is sent, once it has ended well. */
  onEnd(response: ResponseObject): void;
}

/** How a response is written on the wire, and as it stands meanwhile. */
export interface ResponseShape extends WireShape {
  /** The response with what there is of its answer. */
  now(status: ResponseObject["status"], error?: ApiErrorBody): ResponseObject;
  /** The response once its answer has ended. */
  ended(usage: GenerateUsage): ResponseObject;
}

/** How responses are answered: OpenAI's `response`, whole or as its events. */
export function responseShape({ id, model, body, splitter, onEnd }: ResponseHead): ResponseShape {
  const head = headOf(id, model, body);
  const output = new ResponseOutput(splitter);
  let reason: "stop" | "length" = "stop";
  let sequence_number = 0;
  const numbered = (event: Record<string, unknown>) => ({
    ...event,
    sequence_number: sequence_number++,
  });
  const now: ResponseShape["now"] = (status, error) => ({
    ...head,
    status,
    error: error ? { code: error.code ?? "server_error", message: error.message } : null,
    output: output.items,
  });
  const ended: ResponseShape["ended"] = (counts) => {
    const { usage, timings } = wireUsage(counts);
    const cut = reason === "length";
    return {
      ...now(cut ? "incomplete" : "completed"),
      incomplete_details: cut ? { reason: "max_output_tokens" } : null,
      usage: {
        input_tokens: usage.prompt_tokens,
        input_tokens_details: { ...usage.prompt_tokens_details, cache_write_tokens: 0 },
        output_tokens: usage.completion_tokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.total_tokens,
      },
      timings,
    };
  };
  const told = (counts: GenerateUsage) => {
    const response = ended(counts);
    onEnd(response);
    return response;
  };
  return {
    opening: () => [
      numbered({ type: "response.created", response: head }),
      numbered({ type: "response.in_progress", response: head }),
    ],
    delta: (piece) => output.push(piece).map(numbered),
    end: (how) => {
      reason = how;
      return output.finish(reason).map(numbered);
    },
    usage: (counts) => {
      const response = told(counts);
      return numbered({ type: `response.${response.status}`, response });
    },
    whole: ([answer], counts) => {
      for (const piece of answer.pieces) output.push(piece);
      reason = answer.reason;
      output.finish(reason);
      return told(counts);
    },
    written: (event) => `event: ${(event as { type: string }).type}\n${sseData(event)}`,
    failed: (error) =>
      numbered({ type: "response.failed", response: { ...now("failed", error), output: [] } }),
    now,
    ended,
  };
}

function headOf(id: string, model: string, body: ResponseRequest): ResponseObject {
  return {
    id,
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    background: body.background ?? false,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: body.previous_response_id ?? null,
    reasoning: { effort: null, summary: null },
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: "text" } },
    tool_choice: body.tool_choice ?? "auto",
    // OpenAI's clients have these two fields always.
    tools: (body.tools ?? []).map((tool) => ({ parameters: null, strict: null, ...tool })),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: "disabled",
    usage: null,
    metadata: body.metadata ?? {},
  };
}
