import type {
  EngineLoad,
  EnginePool,
  GenerateEvent,
  GenerateRequest,
  Generation,
  ModelInfo,
} from "../engine/types.ts";
import type { GenerationOutcome, ServerMetrics } from "./metrics.ts";

/**
 * A pool whose generations are measured, and known while they run, whichever surface submits them. Errors stay the
 * engine's own. Disposing it leaves the pool beneath open.
 */
export class TrackedPool implements EnginePool {
  readonly #pool: EnginePool;
  readonly #metrics: ServerMetrics;
  readonly #running = new Set<Generation>();
  #whenIdle?: () => void;

  constructor(pool: EnginePool, metrics: ServerMetrics) {
    this.#pool = pool;
    this.#metrics = metrics;
  }

  submit(request: GenerateRequest): Generation {
    const inner = this.#pool.submit(request);
    const model = request.model ?? this.#pool.load()[0]?.model ?? "";
    this.#running.add(inner);
    return {
      id: inner.id,
      cancel: () => {
        inner.cancel();
        this.#leave(inner, model, "cancelled");
      },
      [Symbol.asyncIterator]: () => this.#watch(inner, model, request.embed !== undefined),
    };
  }

  /** Waits up to `deadlineMs` for what runs to end, then cancels it. Resolves to the number cancelled. */
  async drain(deadlineMs: number): Promise<number> {
    if (this.#running.size > 0) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([
        new Promise<void>((resolve) => this.#whenIdle = resolve),
        new Promise<void>((resolve) => timer = setTimeout(resolve, deadlineMs)),
      ]);
      clearTimeout(timer);
    }
    const late = [...this.#running];
    for (const generation of late) generation.cancel();
    return late.length;
  }

  models(id?: string): Promise<ModelInfo[]> {
    return this.#pool.models(id);
  }

  load(): EngineLoad[] {
    return this.#pool.load();
  }

  cachedPrefix(...args: Parameters<EnginePool["cachedPrefix"]>): Promise<number> {
    return this.#pool.cachedPrefix(...args);
  }

  tokenize(...args: Parameters<EnginePool["tokenize"]>): Promise<number[]> {
    return this.#pool.tokenize(...args);
  }

  detokenize(...args: Parameters<EnginePool["detokenize"]>): Promise<string> {
    return this.#pool.detokenize(...args);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async *#watch(
    inner: Generation,
    model: string,
    embeds: boolean,
  ): AsyncGenerator<GenerateEvent> {
    const submitted = performance.now();
    let last = 0;
    try {
      for await (const event of inner) {
        if (event.type === "delta" && event.ids.length > 0) {
          const now = performance.now();
          if (last === 0) this.#metrics.firstToken(model, (now - submitted) / 1000);
          else this.#metrics.nextTokens(model, (now - last) / 1000, event.ids.length);
          last = now;
        } else if (event.type === "finished") {
          const { reason } = event;
          this.#leave(inner, model, embeds && reason !== "cancelled" ? "embedded" : reason);
        }
        yield event;
      }
    } catch (error) {
      this.#leave(inner, model, "error");
      throw error;
    } finally {
      this.#leave(inner, model, "cancelled");
    }
  }

  /** Counts the end once, whoever notices it first. */
  #leave(inner: Generation, model: string, outcome: GenerationOutcome): void {
    if (!this.#running.delete(inner)) return;
    this.#metrics.generation(model, outcome);
    if (this.#running.size === 0) this.#whenIdle?.();
  }
}
