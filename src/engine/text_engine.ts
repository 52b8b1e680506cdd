import { fromFileUrl } from "@std/path";
import { CancelledError } from "../common/errors.ts";
import { Engine } from "./engine.ts";
import { HostedEnginePool } from "./engine_pool.ts";
import { LocalEnginePool } from "./local_engine_pool.ts";
import { blameText } from "./blame_text.ts";
import { modelId, type ModelOptions, openModel } from "./open_model.ts";
import { TextEmbedder } from "./text_embedder.ts";
import { vectorWire } from "./vector_wire.ts";
import { greedy } from "./sampling_defaults.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import type {
  ChatMessage,
  DecodePolicy,
  EngineLoad,
  EnginePool,
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  GenerateUsage,
  Generation,
  ModelInfo,
  Prompt,
  PromptPart,
  SamplingOptions,
  ScoredToken,
} from "./types.ts";

/** How a text engine is opened. Beside `model` and `isolate`, sizes default to what fits the adapter. */
export interface TextEngineOptions extends Omit<ModelOptions, "path"> {
  /** Path or `file:` URL of a GGUF file. */
  model: string | URL;
  /**
   * Where the engine runs. `worker` (default): a Worker, so that the caller's event loop stays free. `own`: the
   * caller's isolate, which then stands still for the length of each step. `process`: a child process, which also
   * contains driver faults.
   */
  isolate?: "worker" | "own" | "process";
  /** How attention over the context is computed for requests that do not say. Default `auto`. */
  decode?: DecodePolicy;
  /** How requests are batched and queued. */
  scheduler?: Partial<SchedulerOptions>;
}

const isolates: readonly TextEngineOptions["isolate"][] = ["worker", "own", "process"];

/** Options of one generation; sampling is greedy unless a temperature is given. */
export interface GenerateOptions
  extends
    Partial<SamplingOptions>,
    Omit<GenerateRequest, "id" | "model" | "prompt" | "sampling" | "engine" | "embed"> {
  /** Cancels the generation. One that is aborted already keeps it from starting: its reason is thrown. */
  signal?: AbortSignal;
}

/** Text, a chat rendered by the model's template, or parts of text and tokens. */
export type TextPrompt = string | ChatMessage[] | PromptPart[];

/** A finished generation. */
export interface Completion {
  /** The generated text. */
  text: string;
  /** Generated tokens, end tokens and stop strings left out. */
  ids: number[];
  /** Log probabilities of the tokens of `ids`, where `logprobs` asks for them. */
  logprobs?: ScoredToken[];
  /** The end token that ended the text, if one did and log probabilities are asked for. */
  end?: ScoredToken;
  /** The prompt with its tokens, where `echo` asks for it, and their log probabilities where `logprobs` does. */
  prompt?: { text: string; ids: number[]; logprobs?: ScoredToken[] };
  /** Why it ended. */
  reason: FinishReason;
  /** Counts and times. */
  usage: GenerateUsage;
}

/** Options of embedding. */
export interface EmbedOptions
  extends Pick<GenerateRequest, "cacheScope" | "criteria" | "priority"> {
  /** Leading elements of the vectors to give, scaled to unit length, from 1 to the model's width: for models trained to bear it. Default all. */
  dimensions?: number;
  /** Cancels the work. */
  signal?: AbortSignal;
}

/** Embedded texts. */
export interface Embeddings {
  /** A vector of unit length for each text, in their order: the product of two is the cosine of the angle between them. */
  vectors: Float32Array<ArrayBuffer>[];
  /** Counts. */
  usage: {
    /** Tokens of all texts, special ones included. */
    promptTokens: number;
  };
}

/**
 * A language model for programs. Any number of generations may run at once; they are batched.
 *
 * ```ts ignore
 * await using engine = await TextEngine.open({ model: "models/sparrow-mini.gguf" });
 * for await (const event of engine.generate("Once upon a time", { maxTokens: 64 })) {
 *   if (event.type === "delta") console.log(event.text);
 * }
 * ```
 */
export class TextEngine implements AsyncDisposable {
  /** What the model is. */
  readonly info: ModelInfo;
  readonly #pool: EnginePool;
  readonly #embedder: TextEmbedder;
  #disposed = false;

  /**
   * Loads a model.
   * @throws `Deno.errors.NotFound` without the file, `ModelFormatError` for a bad one, `OutOfMemoryError` when it does not fit, `RangeError` for
   * sizes out of range, `TypeError` for a `model`, an `isolate` or a decode policy that is none.
   */
  static async open(options: TextEngineOptions): Promise<TextEngine> {
    if (typeof options !== "object" || options === null) {
      throw new TypeError(`open an engine: expected options with a model, got ${options}`);
    }
    const { model, isolate = "worker", decode, scheduler, ...rest } = options;
    if (!isolates.includes(isolate)) {
      throw new TypeError(
        `isolate is ${JSON.stringify(isolate)}, expected ${isolates.join(", ")}`,
      );
    }
    const modelOptions = { ...rest, path: toPath(model) };
    const engine = { decode, scheduler };
    if (isolate === "own") {
      // Kernels that were left for later would stop the caller's isolate at times of the engine's choice.
      const whole = { prepareLater: false, ...modelOptions };
      return await TextEngine.over(
        new LocalEnginePool(await Engine.open(() => openModel(whole), engine)),
      );
    }
    const models = [{ id: modelId(modelOptions.path), model: modelOptions, engine }];
    return await TextEngine.over(new HostedEnginePool({ models, carrier: isolate }));
  }

  /** A text engine over the default model of `pool`, which it takes over and disposes, even when it fails. */
  static async over(pool: EnginePool): Promise<TextEngine> {
    try {
      const [info] = await pool.models();
      return new TextEngine(pool, info);
    } catch (error) {
      await pool[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(pool: EnginePool, info: ModelInfo) {
    this.#pool = pool;
    this.#embedder = new TextEmbedder((request) => pool.submit(request));
    this.info = info;
  }

  /**
   * Starts a generation; iterate it for its events, leave the loop or call `cancel` to stop it.
   * Throws `CapacityError` when too many wait and `TypeError` for what is no prompt and after disposal. From the iterator come `RangeError` for an over-long
   * prompt, a token outside the vocabulary or a `maxTokens` out of range, `TypeError` for a prompt of no tokens and other options out of range,
   * and `ConstraintError`.
   */
  generate(prompt: TextPrompt, options: GenerateOptions = {}): Generation {
    const { signal, temperature, topK, topP, minP, seed, ...others } = options;
    const { presencePenalty, frequencyPenalty, logitBias, ...rest } = others;
    const sampling: SamplingOptions = {
      temperature: temperature ?? greedy.temperature,
      topK: topK ?? greedy.topK,
      topP: topP ?? greedy.topP,
      minP: minP ?? greedy.minP,
      seed: seed ?? greedy.seed,
      presencePenalty,
      frequencyPenalty,
      logitBias,
    };
    this.#checkOpen();
    signal?.throwIfAborted();
    const id = crypto.randomUUID();
    const generation = this.#pool.submit({ ...rest, id, prompt: toPrompt(prompt), sampling });
    return signal ? linked(generation, signal) : generation;
  }

  /** Runs a generation to its end. Throws as `generate`, and `CancelledError` when `signal` cancels it on its way. */
  async complete(prompt: TextPrompt, options: GenerateOptions = {}): Promise<Completion> {
    const scored = options.logprobs !== undefined;
    const empty = () => ({ text: "", ids: [] as number[], ...(scored && { logprobs: [] }) });
    const answer: Pick<Completion, "text" | "ids" | "logprobs"> = empty();
    const echoed: Required<Completion>["prompt"] = empty();
    for await (const event of this.generate(prompt, options)) {
      if (event.type === "delta" || event.type === "prompt") {
        const into = event.type === "delta" ? answer : echoed;
        into.text += event.text;
        // Not as arguments: a long prompt has more tokens than a call may have of those.
        for (const id of event.ids) into.ids.push(id);
        for (const scored of event.logprobs ?? []) into.logprobs?.push(scored);
      } else if (event.type === "finished") {
        if (options.signal?.aborted) {
          throw new CancelledError("the completion was cancelled", {
            cause: options.signal.reason,
          });
        }
        const { type: _, ...rest } = event;
        return { ...answer, ...(options.echo && { prompt: echoed }), ...rest };
      }
    }
    throw new Error("the generation ended without saying why");
  }

  /**
   * Embeds texts, or texts as token ids, for comparing them with each other. Hidden states behind the last norm are pooled as the model file says
   * (`pooling_type`), or to their mean, and scaled to unit length. Special tokens that the model's metadata asks for at the beginning and the end are
   * added unless token ids bring them; those written in texts are text. A text's vector is the same alone and beside others. Several texts run as
   * `throughput` work unless `criteria` says otherwise, one as `latency` work.
   *
   * @throws {TypeError} for what is no text, a text of no tokens, `dimensions` out of range, a model that gives no embeddings, and after disposal.
   * @throws {RangeError} for a text longer than the context, and a token outside the vocabulary.
   * @throws {CapacityError} when too many requests wait, and `CancelledError` when `signal` cancels it on its way.
   */
  async embed(
    texts: string | readonly (string | readonly number[])[],
    options: EmbedOptions = {},
  ): Promise<Embeddings> {
    this.#checkOpen();
    if (typeof texts !== "string" && !Array.isArray(texts)) {
      throw new TypeError(`embed: expected a text or an array of texts, got ${texts}`);
    }
    options.signal?.throwIfAborted();
    const prompts = (typeof texts === "string" ? [texts] : texts).map(toText);
    const embedded = await this.#embedder.embed({
      ...options,
      id: crypto.randomUUID(),
      prompts,
      blame: (error, index) => prompts.length > 1 ? blameText(error, `text ${index}`) : error,
    });
    return {
      vectors: embedded.map(({ vector }) => vectorWire.decode(vector)),
      usage: { promptTokens: embedded.reduce((sum, { promptTokens }) => sum + promptTokens, 0) },
    };
  }

  /** Tokens of `text`. Rejects with `TypeError` for what is no text, and after disposal. */
  async tokenize(
    text: string,
    options: { addBos?: boolean; special?: boolean } = {},
  ): Promise<number[]> {
    this.#checkOpen();
    if (typeof text !== "string") throw new TypeError(`tokenize: expected a text, got ${text}`);
    return await this.#pool.tokenize(text, options);
  }

  /** Text of `ids`. Rejects with `RangeError` for one outside the vocabulary, `TypeError` for what is no array, and after disposal. */
  async detokenize(ids: number[]): Promise<string> {
    this.#checkOpen();
    if (!Array.isArray(ids)) {
      throw new TypeError(`detokenize: expected an array of token ids, got ${ids}`);
    }
    return await this.#pool.detokenize(ids);
  }

  /** A snapshot of the load. */
  load(): EngineLoad {
    return this.#pool.load()[0];
  }

  /** Cancels what runs and closes the engine. Idempotent; any later use but `load` throws `TypeError`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await this.#pool[Symbol.asyncDispose]();
  }

  /** The pool would say that the device is lost, which asks for another try. */
  #checkOpen(): void {
    if (this.#disposed) throw new TypeError(`the engine of ${this.info.id} was disposed of`);
  }
}

function toPath(model: string | URL): string {
  if (typeof model !== "string" && !(model instanceof URL)) {
    throw new TypeError(`model is ${model}, expected the path or file: URL of a GGUF file`);
  }
  return model instanceof URL || model.startsWith("file:") ? fromFileUrl(model) : model;
}

/** Throws `TypeError` for what is no prompt: programs without types may pass anything. */
function toPrompt(prompt: TextPrompt): Prompt {
  if (typeof prompt === "string") return { type: "parts", parts: [{ type: "text", text: prompt }] };
  const all = (fits: (piece: Record<string, unknown>) => boolean) =>
    Array.isArray(prompt) &&
    prompt.every((piece: unknown) =>
      typeof piece === "object" && piece !== null && fits(piece as Record<string, unknown>)
    );
  if (all(isPart)) return { type: "parts", parts: prompt as PromptPart[] };
  if (all(isMessage)) return { type: "chat", messages: prompt as ChatMessage[] };
  throw new TypeError(
    "prompt: expected a text, messages with a role and content, or parts with a type and their text or ids",
  );
}

/** Throws `TypeError` for what is no text and no list of tokens. */
function toText(text: string | readonly number[], index: number): Prompt {
  if (typeof text === "string") return { type: "parts", parts: [{ type: "text", text }] };
  if (Array.isArray(text)) return { type: "parts", parts: [{ type: "tokens", ids: [...text] }] };
  throw new TypeError(`embed: text ${index} is ${text}, expected a text or an array of token ids`);
}

function isPart({ type, text, ids }: Record<string, unknown>): boolean {
  return type === "text" ? typeof text === "string" : type === "tokens" && Array.isArray(ids);
}

function isMessage({ role, content }: Record<string, unknown>): boolean {
  return typeof role === "string" && typeof content === "string";
}

/** `generation`, cancelled by `signal` while it is being read. */
function linked(generation: Generation, signal: AbortSignal): Generation {
  const cancel = () => generation.cancel();
  signal.addEventListener("abort", cancel);
  return {
    id: generation.id,
    cancel,
    async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent, void, void> {
      try {
        yield* generation;
      } finally {
        signal.removeEventListener("abort", cancel);
      }
    },
  };
}
