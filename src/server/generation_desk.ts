import { blameText } from "../engine/blame_text.ts";
import { type EmbeddedText, type EmbedTexts, TextEmbedder } from "../engine/text_embedder.ts";
import type { GenerateEvent, GenerateRequest, Generation, ModelInfo } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";
import { type BlamedFields, fromEngineError } from "./error_map.ts";
import { clientLeft } from "./client_left.ts";
import { unavailable } from "./unavailable.ts";
import type { TrackedPool } from "./tracked_pool.ts";

/**
 * Where OpenAI's routes hand in generations: resolves the model's name, turns the engine's errors into the client's,
 * and refuses new work when the server has to stop.
 */
export class GenerationDesk {
  readonly #pool: TrackedPool;
  readonly #embedder: TextEmbedder;
  #draining = false;

  constructor(pool: TrackedPool) {
    this.#pool = pool;
    this.#embedder = new TextEmbedder((request) => pool.submit(request));
  }

  /** Whether new work is refused. */
  get draining(): boolean {
    return this.#draining;
  }

  /** The name of the model that a request means. Throws `ApiError` 404 for one that is not served. */
  modelName(name?: string | null): string {
    const names = [...new Set(this.#pool.load().map((load) => load.model))];
    if (names.length === 0) throw unavailable("no model is loaded yet", "starting", 1);
    if (name === undefined || name === null) return names[0];
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
      const reason = (error as Error).message;
      throw unavailable(`no model could be loaded: ${reason}`, "model_failed", 30, error);
    }
  }

  /** What the pool knows of a model, once it has loaded, whether or not others have. Throws `ApiError` 404 or, for a failed one, 503. */
  async modelInfo(name?: string | null): Promise<ModelInfo> {
    const id = this.modelName(name);
    const failed = (reason: string, cause?: unknown) =>
      unavailable(`model "${id}" could not be loaded: ${reason}`, "model_failed", 30, cause);
    let known: ModelInfo[];
    try {
      known = await this.#pool.models(id);
    } catch (error) {
      throw failed((error as Error).message, error);
    }
    const info = known.find((model) => model.id === id);
    if (info !== undefined) return info;
    throw failed("the server's log says why");
  }

  /**
   * Queues a generation. `blamed`: the fields that its parts came in, by default those of OpenAI's completions. Throws `ApiError`, at once or from
   * the iterator.
   */
  submit(request: GenerateRequest, blamed: BlamedFields = {}): Generation {
    this.#checkOpen();
    const prompt = request.prompt.type === "chat" ? "messages" : "prompt";
    const fields = { ...blamed, prompt: blamed.prompt ?? prompt };
    try {
      const inner = this.#pool.submit({ ...request, model: this.modelName(request.model) });
      return {
        id: inner.id,
        cancel: () => inner.cancel(),
        [Symbol.asyncIterator]: () => translate(inner, fields),
      };
    } catch (error) {
      throw fromEngineError(error, fields);
    }
  }

  /** Embeds texts, of the field `input`. Throws `ApiError`. */
  async embed(texts: Omit<EmbedTexts, "blame">): Promise<EmbeddedText[]> {
    this.#checkOpen();
    const several = texts.prompts.length > 1;
    return await this.#embedder.embed({
      ...texts,
      blame: (error, index) => {
        if (texts.signal?.aborted) return clientLeft();
        const prompt = several ? `input.${index}` : "input";
        return fromEngineError(several ? blameText(error, prompt) : error, { prompt });
      },
    });
  }

  #checkOpen(): void {
    if (this.#draining) throw unavailable("the server is shutting down", "shutting_down", 5);
  }

  /** Refuses new work from now on. */
  refuse(): void {
    this.#draining = true;
  }

  /** Refuses new work, waits up to `deadlineMs` for all that runs, and cancels the rest; resolves to its number. */
  drain(deadlineMs: number): Promise<number> {
    this.refuse();
    return this.#pool.drain(deadlineMs);
  }
}

async function* translate(
  inner: Generation,
  fields: BlamedFields,
): AsyncGenerator<GenerateEvent> {
  try {
    yield* inner;
  } catch (error) {
    throw fromEngineError(error, fields);
  }
}
