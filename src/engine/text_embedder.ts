import { CancelledError, CapacityError } from "../common/errors.ts";
import { greedy } from "./sampling_defaults.ts";
import type { GenerateRequest, Generation, Prompt } from "./types.ts";

/** Texts that wait or run at a time, of all calls: each takes a place in the engine's queue, and a step has room for few more. */
const AT_ONCE = 64;

/** Milliseconds before it is tried again to go on where others fill the queue. */
const PAUSE = 100;

/** A text's embedding on its way to whoever asked. */
export interface EmbeddedText {
  /** As of the event `embedding`. */
  vector: string;
  promptTokens: number;
}

/** Texts to embed, and how. */
export interface EmbedTexts
  extends Pick<GenerateRequest, "model" | "cacheScope" | "criteria" | "priority"> {
  /** Unique while it lives; a text's own id is this and its index. */
  id: string;
  prompts: readonly Prompt[];
  dimensions?: number;
  /** Cancels what is left. */
  signal?: AbortSignal;
  /** The error to throw where text `index` failed with `error`. Default: `error` itself. */
  blame?: (error: unknown, index: number) => unknown;
}

/** Embeds texts, some at a time, so that many of them, in one call or in several, leave others a place in the queue. */
export class TextEmbedder {
  readonly #submit: (request: GenerateRequest) => Generation;
  #calls = 0;
  #running = 0;

  /** `submit` hands a text to the engine, and throws `CapacityError` when its queue is full. */
  constructor(submit: (request: GenerateRequest) => Generation) {
    this.#submit = submit;
  }

  /**
   * Resolves to an embedding for each text, in order.
   *
   * @throws {CapacityError} when there is no place for the first, `CancelledError` when they are cancelled, and what a generation's iterator throws; all
   * that is left is cancelled then.
   */
  async embed(texts: EmbedTexts): Promise<EmbeddedText[]> {
    this.#calls++;
    try {
      return await this.#embed(texts);
    } finally {
      this.#calls--;
    }
  }

  /** Whether a call that has so many texts waiting or running may begin another: calls side by side have as many each, one at least. */
  #mayBegin(own: number): boolean {
    return own === 0 || (own < AT_ONCE / this.#calls && this.#running < AT_ONCE);
  }

  async #embed(
    { id, prompts, dimensions, signal, blame = (error) => error, ...rest }: EmbedTexts,
  ): Promise<EmbeddedText[]> {
    const texts: EmbeddedText[] = new Array(prompts.length);
    const running = new Map<Generation, Promise<void>>();
    const cancel = () => {
      for (const generation of running.keys()) generation.cancel();
    };
    const fail = (index: number) => (error: unknown) => {
      throw blame(error, index);
    };
    // Several texts are rarely what somebody waits for with a stream open.
    const criteria = rest.criteria ?? (prompts.length > 1 ? "throughput" : "latency");
    const begin = (prompt: Prompt, index: number) => {
      const generation = this.#submit({
        ...rest,
        criteria,
        id: `${id}-${index}`,
        prompt,
        sampling: greedy,
        embed: { dimensions },
      });
      const work = read(generation, signal).then((text) => {
        texts[index] = text;
      }).catch(fail(index)).finally(() => {
        running.delete(generation);
        this.#running--;
      });
      // Read below, unless another one fails first.
      work.catch(() => {});
      running.set(generation, work);
      this.#running++;
    };
    signal?.addEventListener("abort", cancel);
    try {
      for (let next = 0; next < prompts.length || running.size > 0;) {
        while (next < prompts.length && this.#mayBegin(running.size)) {
          if (signal?.aborted) fail(next)(cancelled(signal));
          try {
            begin(prompts[next], next);
            next++;
          } catch (error) {
            // A full queue: there is a place when one of these ends, or of others'. What was done is not lost for it.
            if (!(error instanceof CapacityError) || next === 0) fail(next)(error);
            break;
          }
        }
        await (running.size > 0 ? Promise.race(running.values()) : pause());
      }
      return texts;
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel();
    }
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE));
}

function cancelled(signal: AbortSignal | undefined): CancelledError {
  return new CancelledError("the embedding was cancelled", { cause: signal?.reason });
}

async function read(generation: Generation, signal?: AbortSignal): Promise<EmbeddedText> {
  let vector: string | undefined;
  for await (const event of generation) {
    if (event.type === "embedding") vector = event.vector;
    if (event.type !== "finished") continue;
    if (event.reason === "cancelled") throw cancelled(signal);
    if (vector !== undefined) return { vector, promptTokens: event.usage.promptTokens };
  }
  throw new Error(`embed ${generation.id}: the engine gave no vector`);
}
