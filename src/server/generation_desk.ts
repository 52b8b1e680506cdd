import { ApiError } from "./api_error.ts";
import { fromEngineError } from "./error_map.ts";
import type { GenerationOutcome, ServerMetrics } from "./metrics.ts";
import type {
  EnginePool,
  GenerateEvent,
  GenerateRequest,
  Generation,
  ModelInfo,
} from "../engine/types.ts";

/**
 * Where HTTP surfaces hand in generations: resolves the model's name, measures, turns the engine's errors into the
 * client's, and knows what is still running when the server has to stop.
 */
export class GenerationDesk {
  readonly #pool: EnginePool;
  readonly #metrics: ServerMetrics;
  readonly #running = new Set<Generation>();
  #draining = false;
  #whenIdle?: () => void;

  constructor(pool: EnginePool, metrics: ServerMetrics) {
    this.#pool = pool;
    this.#metrics = metrics;
  }

  /** Generations not yet ended. */
  get running(): number {
    return this.#running.size;
  }

  /** Whether `drain` was called: new work is refused. */
  get draining(): boolean {
    return this.#draining;
  }

  /** The name of the model that a request means. Throws `ApiError` 404 for one that is not served. */
  modelName(name?: string): string {
    const names = [...new Set(this.#pool.load().map((load) => load.model))];
    if (names.length === 0) {
      throw new ApiError("no model is loaded yet", {
        status: 503,
        type: "server_error",
        code: "starting",
        retryAfterSeconds: 1,
      });
    }
    if (name === undefined) return names[0];
    if (names.includes(name)) return name;
    throw new ApiError(`model "${name}" is not served here; served: ${names.join(", ")}`, {
      status: 404,
      type: "invalid_request_error",
      code: "model_not_found",
      param: "model",
    });
  }

  /** The models that loaded, the default first. Throws `ApiError` 503 when none could. */
  async models(): Promise<ModelInfo[]> {
    try {
      return await this.#pool.models();
    } catch (error) {
      throw modelFailed(`no model could be loaded: ${(error as Error).message}`, error);
    }
  }

  /** What the pool knows of a model, once it has loaded. Throws `ApiError` 404 or, for a failed one, 503. */
  async modelInfo(name?: string): Promise<ModelInfo> {
    const id = this.modelName(name);
    const info = (await this.models()).find((model) => model.id === id);
    if (info !== undefined) return info;
    throw modelFailed(`model "${id}" could not be loaded; the server's log says why`);
  }

  /** Queues a generation. Throws `ApiError`, at once or from the iterator. */
  submit(request: GenerateRequest): Generation {
    if (this.#draining) throw draining();
    const model = this.modelName(request.model);
    let inner: Generation;
    try {
      inner = this.#pool.submit({ ...request, model });
    } catch (error) {
      throw fromEngineError(error);
    }
    this.#running.add(inner);
    return {
      id: inner.id,
      cancel: () => {
        inner.cancel();
        this.#leave(inner, model, "cancelled");
      },
      [Symbol.asyncIterator]: () => this.#watch(inner, model),
    };
  }

  /**
   * Refuses new work, and waits up to `deadlineMs` for the rest to end; then cancels it. Resolves to the number of
   * generations cancelled.
   */
  async drain(deadlineMs: number): Promise<number> {
    this.#draining = true;
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

  async *#watch(inner: Generation, model: string): AsyncGenerator<GenerateEvent> {
    const submitted = performance.now();
    let last = 0;
    try {
      for await (const event of inner) {
        if (event.type === "delta" && event.ids.length > 0) {
          const now = performance.now();
          if (last === 0) this.#metrics.firstToken(model, (now - submitted) / 1000);
          else this.#metrics.nextToken(model, (now - last) / 1000 / event.ids.length);
          last = now;
        } else if (event.type === "finished") {
          this.#leave(inner, model, event.reason);
        }
        yield event;
      }
    } catch (error) {
      this.#leave(inner, model, "error");
      throw fromEngineError(error);
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

function modelFailed(message: string, cause?: unknown): ApiError {
  return new ApiError(message, {
    status: 503,
    type: "server_error",
    code: "model_failed",
    retryAfterSeconds: 30,
    cause,
  });
}

function draining(): ApiError {
  return new ApiError("the server is shutting down", {
    status: 503,
    type: "server_error",
    code: "shutting_down",
    retryAfterSeconds: 5,
  });
}
