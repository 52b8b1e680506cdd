import type { GenerateEvent, GenerateRequest, Generation } from "../../engine/types.ts";
import { decode, hashIds } from "./sim_tokenizer.ts";
import { pageKeys, type SimPage } from "./sim_pages.ts";

/** A generation in a simulated engine, and the stream of its events. */
export class SimSequence implements Generation {
  readonly id: string;
  readonly request: GenerateRequest;
  readonly prompt: number[];
  readonly keys: string[];
  readonly seed: number;
  readonly outputTokens: number;
  /** Scripted answer, as tokens. */
  readonly answer: number[] | undefined;
  readonly arrived: number;
  readonly latency: boolean;
  /** Prompt tokens that it reads: all, or fewer where it only fills ahead. */
  promptEnd: number;
  /** Prompt tokens in memory. */
  filled = 0;
  cached = 0;
  generated: number[] = [];
  shared: SimPage[] = [];
  ownPages = 0;
  /** Prompt pages that stand in the cache, own ones included. */
  published = 0;
  firstTokenAt = 0;
  lastStep = 0;
  ended = false;
  readonly #cancelled: (sequence: SimSequence) => void;
  #events: GenerateEvent[] = [];
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(
    request: GenerateRequest,
    prompt: number[],
    options: {
      outputTokens: number;
      answer?: number[];
      arrived: number;
      pageTokens?: number;
      cancelled: (sequence: SimSequence) => void;
    },
  ) {
    this.id = request.id;
    this.request = request;
    this.prompt = prompt;
    this.promptEnd = prompt.length;
    this.keys = pageKeys(prompt, request.cacheScope ?? "", options.pageTokens);
    const { temperature, seed } = request.sampling;
    this.seed = hashIds(prompt) ^ (temperature > 0 ? seed : 0);
    this.outputTokens = options.outputTokens;
    this.answer = options.answer;
    this.arrived = options.arrived;
    this.latency = (request.criteria ?? "latency") === "latency";
    this.#cancelled = options.cancelled;
  }

  /** Tokens of context now. */
  get context(): number {
    return this.filled + this.generated.length;
  }

  get decoding(): boolean {
    return this.filled === this.promptEnd;
  }

  emit(event: GenerateEvent): void {
    if (this.ended) return;
    if (event.type === "finished") this.ended = true;
    this.#events.push(event);
    this.#notify();
  }

  fail(error: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.#error = error;
    this.#notify();
  }

  cancel(): void {
    if (!this.ended) this.#cancelled(this);
  }

  /** The text generated so far. */
  text(): string {
    return decode(this.generated);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent, void, void> {
    try {
      while (true) {
        const events = this.#events;
        this.#events = [];
        for (const event of events) {
          yield event;
          if (event.type === "finished") return;
        }
        if (this.#events.length > 0) continue;
        if (this.#error) throw this.#error;
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
    } finally {
      this.cancel();
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
