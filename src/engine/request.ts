import type { Sequence } from "./sequence.ts";
import { StopMatcher } from "./stop_matcher.ts";
import type { TextCodec, TextDecoderStream } from "./text_codec.ts";
import type { FinishReason, GenerateEvent, GenerateRequest, GenerateUsage } from "./types.ts";

/** Where the events of a generation go. */
export interface GenerationListener {
  event(event: GenerateEvent): void;
  /** The generation failed; nothing follows. */
  fail(error: Error): void;
}

/** A token whose text is not yet shown in full. `end`: length of the text up to and with it, once known. */
interface UnshownToken {
  id: number;
  end: number;
}

/** A generation's text side: turns its tokens into events and says when it ends. */
export class ActiveRequest {
  readonly id: string;
  readonly sequence: Sequence;
  readonly #listener: GenerationListener;
  readonly #decoder: TextDecoderStream;
  readonly #stops: StopMatcher;
  readonly #endTokens: (id: number) => boolean;
  readonly #limit: number;
  readonly #submittedAt: number;
  #firstAt = NaN;
  #lastAt = NaN;
  #tokens = 0;
  #unshown: UnshownToken[] = [];
  #decoded = 0;
  #shown = 0;
  #text = "";

  /** `now`: milliseconds, the time of submission. */
  constructor(
    request: GenerateRequest,
    sequence: Sequence,
    codec: TextCodec,
    listener: GenerationListener,
    now: number,
  ) {
    this.id = request.id;
    this.sequence = sequence;
    this.#listener = listener;
    this.#decoder = codec.streamDecoder({ after: sequence.ids.at(-1) });
    this.#stops = new StopMatcher(request.stop);
    const stopTokens = new Set(request.stopTokens);
    const own = request.ignoreEos ? new Set<number>() : codec.endTokens;
    this.#endTokens = (id) => stopTokens.has(id) || own.has(id);
    this.#limit = sequence.maxTokens;
    this.#submittedAt = now;
  }

  /** Reports that the request has left the queue. */
  start(): void {
    const { promptTokens, cachedTokens } = this.sequence;
    this.#listener.event({ type: "started", promptTokens, cachedTokens });
  }

  /** Takes the next token, and reports what can be shown; returns the reason if the generation ends with it. */
  accept(id: number, now: number): FinishReason | undefined {
    if (Number.isNaN(this.#firstAt)) this.#firstAt = now;
    this.#lastAt = now;
    if (this.#endTokens(id)) return "stop";
    this.#tokens++;
    this.#unshown.push({ id, end: Infinity });
    const stopped = this.#take(this.#decoder.push(id));
    if (stopped) this.#unshown = this.#unshown.filter((token) => token.end <= this.#shown);
    this.#show();
    if (stopped) return "stop";
    return this.#tokens >= this.#limit ? "length" : undefined;
  }

  /** Reports what was held back, then the end. */
  finish(reason: FinishReason): void {
    if (this.#unshown.length > 0 && !this.#take(this.#decoder.flush())) {
      const rest = this.#stops.flush();
      this.#text += rest;
      this.#shown += rest.length;
      for (const token of this.#unshown) token.end = Math.min(token.end, this.#shown);
    }
    this.#show();
    this.#listener.event({ type: "finished", reason, usage: this.#usage() });
  }

  fail(error: Error): void {
    this.#listener.fail(error);
  }

  /** Adds decoded text up to a stop string; true when there was one. */
  #take(piece: string): boolean {
    if (piece === "") return false;
    this.#decoded += piece.length;
    // Tokens that showed nothing by themselves are part of the text that comes next.
    for (const token of this.#unshown) if (token.end === Infinity) token.end = this.#decoded;
    const { text, stopped } = this.#stops.push(piece);
    this.#text += text;
    this.#shown += text.length;
    return stopped;
  }

  #show(): void {
    const ids: number[] = [];
    while (this.#unshown.length > 0 && this.#unshown[0].end <= this.#shown) {
      ids.push(this.#unshown.shift()!.id);
    }
    if (ids.length === 0 && this.#text === "") return;
    this.#listener.event({ type: "delta", ids, text: this.#text });
    this.#text = "";
  }

  #usage(): GenerateUsage {
    const sampled = !Number.isNaN(this.#firstAt);
    return {
      promptTokens: this.sequence.promptTokens,
      completionTokens: this.#tokens,
      cachedTokens: Math.max(0, this.sequence.cachedTokens),
      ttftMs: sampled ? this.#firstAt - this.#submittedAt : 0,
      decodeMs: sampled ? this.#lastAt - this.#firstAt : 0,
    };
  }
}
