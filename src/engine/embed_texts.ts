import { CancelledError, CapacityError } from "../common/errors.ts";
import { greedy } from "./sampling_defaults.ts";
import type { GenerateRequest, Generation, Prompt } from "./types.ts";

/** Texts that wait or run at a time, of one call: each takes a place in the engine's queue. */
const AT_ONCE = 128;

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

/**
 * Embeds texts, some at a time, so that many leave others a place in the queue; resolves to one for each, in order.
 *
 * @throws {CapacityError} when there is no place for any, `CancelledError` when they are cancelled, and what a generation's iterator throws; all that is
 * left is cancelled then.
 */
export async function embedTexts(
  submit: (request: GenerateRequest) => Generation,
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
    const generation = submit({
      ...rest,
      criteria,
      id: `${id}-${index}`,
      prompt,
      sampling: greedy,
      embed: { dimensions },
    });
    const work = read(generation, signal).then((text) => {
      texts[index] = text;
    }).catch(fail(index)).finally(() => running.delete(generation));
    // Read below, unless another one fails first.
    work.catch(() => {});
    running.set(generation, work);
  };
  signal?.addEventListener("abort", cancel);
  try {
    for (let next = 0; next < prompts.length || running.size > 0;) {
      while (next < prompts.length && running.size < AT_ONCE) {
        if (signal?.aborted) fail(next)(cancelled(signal));
        try {
          begin(prompts[next], next);
          next++;
        } catch (error) {
          // A full queue: there is a place when one of these ends.
          if (!(error instanceof CapacityError) || running.size === 0) fail(next)(error);
          break;
        }
      }
      await Promise.race(running.values());
    }
    return texts;
  } finally {
    signal?.removeEventListener("abort", cancel);
    cancel();
  }
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
