import type { GenerationListener } from "./request.ts";
import type { GenerateEvent, Generation } from "./types.ts";

/**
 * The consumer's end of a generation: events are queued until they are read, and deltas that nobody has read yet
 * are joined, so a slow reader costs the text's own size and no more.
 */
export class GenerationStream implements Generation, GenerationListener {
  readonly id: string;
  readonly #onCancel: () => void;
  #queue: GenerateEvent[] = [];
  #error: Error | undefined;
  #ended = false;
  #iterated = false;
  #cancelled = false;
  #wake: (() => void) | undefined;

  constructor(id: string, onCancel: () => void) {
    this.id = id;
    this.#onCancel = onCancel;
  }

  event(event: GenerateEvent): void {
    if (this.#ended) return;
    const last = this.#queue.at(-1);
    if (event.type === "delta" && last?.type === "delta") {
      last.ids.push(...event.ids);
      last.text += event.text;
      last.logprobs?.push(...event.logprobs ?? []);
    } else if (event.type === "delta") {
      const { ids, logprobs } = event;
      this.#queue.push({ ...event, ids: [...ids], ...(logprobs && { logprobs: [...logprobs] }) });
    } else this.#queue.push(event);
    this.#ended = event.type === "finished";
    this.#notify();
  }

  fail(error: Error): void {
    if (this.#ended) return;
    this.#error = error;
    this.#ended = true;
    this.#notify();
  }

  cancel(): void {
    if (this.#ended || this.#cancelled) return;
    this.#cancelled = true;
    this.#onCancel();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent, void, void> {
    if (this.#iterated) throw new TypeError(`generation ${this.id} was iterated before`);
    this.#iterated = true;
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event) {
          yield event;
          continue;
        }
        if (this.#error) throw this.#error;
        if (this.#ended) return;
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
    } finally {
      this.cancel();
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
