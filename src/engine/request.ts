import { PromptEcho } from "./prompt_echo.ts";
import { ScoredText } from "./scored_text.ts";
import type { Sequence } from "./sequence.ts";
import { StopMatcher } from "./stop_matcher.ts";
import { vectorWire } from "./vector_wire.ts";
import type { TextCodec, TextDecoderStream } from "./text_codec.ts";
import type {
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  GenerateUsage,
  ScoredToken,
} from "./types.ts";

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
  scored?: ScoredToken;
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
  /** Absent where no log probabilities are asked for. */
  readonly #scored: ScoredText | undefined;
  readonly #echo: PromptEcho | undefined;
  /** Tokens of the prompt last told to be read; absent where nobody wants to know. */
  #read: number | undefined;
  #end: ScoredToken | undefined;
  #firstAt = NaN;
  #lastAt = NaN;
  #tokens = 0;
  #unshown: UnshownToken[] = [];
  #decoded = 0;
  #shown = 0;
  #text = "";

  /**
   * @param now milliseconds, the time of submission
   * @param firstWritten index of the first token of the prompt that the caller wrote
   */
  constructor(
    request: GenerateRequest,
    sequence: Sequence,
    codec: TextCodec,
    listener: GenerationListener,
    now: number,
    firstWritten = 0,
  ) {
    this.id = request.id;
    this.sequence = sequence;
    this.#listener = listener;
    this.#decoder = codec.streamDecoder({
      after: sequence.ids.at(-1),
      // Text that may turn into calls is what it would be without them.
      whole: sequence.constraint !== undefined && request.constraint?.kind !== "tool_calls",
      visible: request.visible && codec.controlTokens?.(request.visible),
    });
    this.#stops = new StopMatcher(request.stop);
    const stopTokens = new Set(request.stopTokens);
    const own = request.ignoreEos ? new Set<number>() : codec.endTokens;
    this.#endTokens = (id) => stopTokens.has(id) || own.has(id);
    this.#limit = sequence.maxTokens;
    this.#submittedAt = now;
    this.#scored = sequence.scores && new ScoredText(codec);
    if (request.progress) this.#read = 0;
    if (request.echo) {
      this.#echo = new PromptEcho(sequence, firstWritten, codec, this.#scored);
    }
  }

  /** Whether some of the prompt is still to be reported. */
  get echoing(): boolean {
    return this.#echo !== undefined && !this.#echo.done;
  }

  /** Reports how much of the prompt is read, if that is wanted; returns whether there may be more to report. */
  reading(): boolean {
    const { state, computed, prefilling, promptTokens } = this.sequence;
    if (this.#read === undefined || this.#tokens > 0) return false;
    if (state === "waiting") return true;
    if (!prefilling) return false;
    if (computed > this.#read) {
      this.#read = computed;
      this.#listener.event({ type: "reading", tokens: computed, promptTokens });
    }
    return true;
  }

  /** Reports that the request has left the queue. */
  start(): void {
    const { promptTokens, cachedTokens } = this.sequence;
    this.#listener.event({ type: "started", promptTokens, cachedTokens });
    this.echo();
  }

  /**
   * Reports what has become known of the prompt, if it is to be reported.
   * @throws {Error} when the model's logits of a token were not finite.
   */
  echo(): void {
    const event = this.#echo?.next();
    if (event) this.#listener.event(event);
  }

  /**
   * Takes the next token, and reports what can be shown; returns the reason if the generation ends with it.
   * @throws {Error} when the token's score is wanted and its logits were not finite.
   */
  accept(id: number, now: number): FinishReason | undefined {
    if (Number.isNaN(this.#firstAt)) this.#firstAt = now;
    this.#lastAt = now;
    const scores = this.sequence.scores;
    const scored = this.#scored?.token(
      id,
      scores?.take(this.sequence.promptTokens + this.#tokens),
    );
    const { constraint } = this.sequence;
    // Where a constrained text may not end, a stop token is part of it.
    if (this.#endTokens(id) && (constraint === undefined || constraint.mayEnd)) {
      this.#end = scored;
      return "stop";
    }
    this.#tokens++;
    this.#unshown.push({ id, end: Infinity, scored });
    const piece = this.#decoder.push(id);
    this.#scored?.append(piece);
    const stopped = this.#take(piece);
    if (stopped) this.#unshown = this.#unshown.filter((token) => token.end <= this.#shown);
    this.#show();
    const complete = constraint?.accept(id);
    if (stopped || complete) return "stop";
    return this.#tokens >= this.#limit ? "length" : undefined;
  }

  /**
   * The prompt has been read and nothing is to be generated: reports its embedding, if that is wanted.
   * @throws {Error} when its hidden states were not finite.
   */
  read(): FinishReason {
    const { pooled } = this.sequence;
    if (pooled) {
      const vector = vectorWire.encode(pooled.vector());
      this.#listener.event({ type: "embedding", vector });
    }
    return "length";
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
    const end = this.#end && { end: this.#end };
    this.#listener.event({ type: "finished", reason, usage: this.#usage(), ...end });
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
    const logprobs: ScoredToken[] = [];
    while (this.#unshown.length > 0 && this.#unshown[0].end <= this.#shown) {
      const { id, scored } = this.#unshown.shift()!;
      ids.push(id);
      if (scored) logprobs.push(scored);
    }
    if (ids.length === 0 && this.#text === "") return;
    const text = this.#text;
    this.#listener.event({ type: "delta", ids, text, ...(this.#scored && { logprobs }) });
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
