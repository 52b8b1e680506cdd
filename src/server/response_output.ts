import type { ScoredToken } from "../engine/types.ts";
import type { AnswerPiece } from "./generation_answer.ts";
import type { OutputItem } from "./responses_schema.ts";
import { type AnswerPart, type SplitterOptions, ToolCallSplitter } from "./tool_call_splitter.ts";
import { wireId } from "./wire_id.ts";
import { responseLogprobs } from "./wire_logprobs.ts";

type Event = Record<string, unknown> & { type: string };

/** The items of a response while they are made, with the events that tell of them. `splitter`: how calls of tools are found, where there may be some. */
export class ResponseOutput {
  readonly items: OutputItem[] = [];
  readonly #splitter: ToolCallSplitter | undefined;
  #open = false;
  /** Of tokens that nothing was shown for yet. */
  #logprobs: ScoredToken[] = [];

  constructor(splitter?: SplitterOptions) {
    this.#splitter = splitter && new ToolCallSplitter(splitter);
  }

  /** Takes what was generated next. */
  push({ text, logprobs = [] }: AnswerPiece): Event[] {
    this.#logprobs.push(...logprobs);
    const parts: AnswerPart[] = this.#splitter?.push(text) ?? [{ type: "content", text }];
    return parts.flatMap((part) => this.#add(part));
  }

  /** Takes the end. An answer of nothing is a message without text. */
  finish(reason: "stop" | "length"): Event[] {
    const events = (this.#splitter?.finish() ?? []).flatMap((part) => this.#add(part));
    if (this.items.length === 0) events.push(...this.#begin("message"));
    const last = this.items.at(-1)!;
    // What was cut behind a call's arguments is its closing mark; a stop string may cut within them.
    const whole = last.type === "function_call" ? isJson(last.arguments) : reason === "stop";
    return [...events, ...this.#close(whole ? "completed" : "incomplete")];
  }

  #add(part: AnswerPart): Event[] {
    const logprobs = this.#logprobs;
    this.#logprobs = [];
    if (part.type === "call") return [...this.#close(), ...this.#begin("function_call", part.name)];
    if (part.type === "arguments") {
      const call = this.items.at(-1) as Extract<OutputItem, { type: "function_call" }>;
      call.arguments += part.text;
      return [this.#event("response.function_call_arguments.delta", { delta: part.text })];
    }
    const goes = this.#open && this.items.at(-1)?.type === "message";
    const events = goes ? [] : [...this.#close(), ...this.#begin("message")];
    const [content] = (this.items.at(-1) as Extract<OutputItem, { type: "message" }>).content;
    const scored = responseLogprobs(logprobs);
    content.text += part.text;
    content.logprobs.push(...scored);
    events.push(
      this.#event("response.output_text.delta", {
        content_index: 0,
        delta: part.text,
        logprobs: scored,
      }),
    );
    return events;
  }

  #begin(type: OutputItem["type"], name = ""): Event[] {
    const status = "in_progress";
    this.#open = true;
    if (type === "function_call") {
      const item = { type, id: wireId("fc"), call_id: wireId("call"), name, arguments: "", status };
      this.items.push({ ...item, status });
      return [this.#about("response.output_item.added", item)];
    }
    const part = () => ({ type: "output_text" as const, text: "", annotations: [], logprobs: [] });
    const item = { type, id: wireId("msg"), role: "assistant" as const, status };
    this.items.push({ ...item, status, content: [part()] });
    return [
      this.#about("response.output_item.added", { ...item, content: [] }),
      this.#event("response.content_part.added", { content_index: 0, part: part() }),
    ];
  }

  /** Ends the item that is being made, if one is. */
  #close(status: "completed" | "incomplete" = "completed"): Event[] {
    const item = this.items.at(-1);
    if (!this.#open || !item) return [];
    this.#open = false;
    item.status = status;
    const events: Event[] = [];
    if (item.type === "function_call") {
      const { name, arguments: text } = item;
      events.push(this.#event("response.function_call_arguments.done", { name, arguments: text }));
    } else {
      const [part] = item.content;
      const { text, logprobs } = part;
      events.push(
        this.#event("response.output_text.done", { content_index: 0, text, logprobs }),
        this.#event("response.content_part.done", { content_index: 0, part }),
      );
    }
    return [...events, this.#about("response.output_item.done", item)];
  }

  /** An event of the latest item. */
  #event(type: string, fields: Record<string, unknown>): Event {
    return { type, item_id: this.items.at(-1)!.id, output_index: this.items.length - 1, ...fields };
  }

  #about(type: string, item: unknown): Event {
    return { type, output_index: this.items.length - 1, item };
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
