import type {
  EngineLoad,
  EnginePool,
  GenerateRequest,
  Generation,
  ModelInfo,
} from "../../engine/types.ts";
import { type Clock, systemClock } from "../clock.ts";
import { SimEngine, type SimEngineOptions } from "./sim_engine.ts";
import { pageKeys } from "./sim_pages.ts";
import { SimSequence } from "./sim_sequence.ts";
import { decode, encode } from "./sim_tokenizer.ts";

/** A pool of simulated engines. */
export interface SimulatedPoolOptions extends SimEngineOptions {
  clock?: Clock;
  /** Name of the model that every engine serves. Default `simulated`. */
  model?: string;
  /** Engines. Default 1. */
  engines?: number;
  /** Scripted answers; undefined for pseudo-words of the length asked for. */
  answer?: (prompt: string, request: GenerateRequest) => string | undefined;
  /** A failure to throw from the generation instead of running it. */
  fault?: (prompt: string, request: GenerateRequest) => Error | undefined;
}

/**
 * Engines that exist only as a cost model, behind the interface of real ones: what schedules real engines is tried
 * on these, at any scale, in virtual time. Text is a function of the prompt alone.
 */
export class SimulatedPool implements EnginePool {
  readonly engines: readonly SimEngine[];
  readonly #options: SimulatedPoolOptions;
  readonly #clock: Clock;
  readonly #model: string;
  readonly #owners = new WeakMap<SimSequence, SimEngine>();

  constructor(options: SimulatedPoolOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#model = options.model ?? "simulated";
    this.engines = Array.from(
      { length: options.engines ?? 1 },
      () => new SimEngine(this.#model, this.#clock, options),
    );
  }

  models(): Promise<ModelInfo[]> {
    return Promise.resolve([{
      id: this.#model,
      architecture: "cost model",
      contextLength: this.#options.cost.kvTokens,
      vocabularySize: 2 ** 28,
      parameters: 0,
      created: 0,
      hasChatTemplate: false,
      device: "simulated",
    }]);
  }

  submit(request: GenerateRequest): Generation {
    if (request.model !== undefined && request.model !== this.#model) {
      throw new TypeError(`Model ${request.model} is not served, expected ${this.#model}`);
    }
    const engine = this.engines[request.engine ?? this.#least()] ?? this.engines[0];
    const prompt = promptIds(request);
    const text = this.#options.answer || this.#options.fault ? decode(prompt) : "";
    const scripted = this.#options.answer?.(text, request);
    const answer = scripted === undefined ? undefined : encode(scripted);
    const limit = request.maxTokens ?? 256;
    const sequence = new SimSequence(request, prompt, {
      outputTokens: limit === 0 ? 0 : Math.max(1, Math.min(limit, answer?.length ?? limit)),
      answer,
      arrived: this.#clock.now(),
      pageTokens: this.#options.pageTokens,
      cancelled: (sequence) => this.#owners.get(sequence)?.cancel(sequence),
    });
    this.#owners.set(sequence, engine);
    const fault = this.#options.fault?.(text, request);
    const pages = Math.ceil((prompt.length + sequence.outputTokens) / engine.pageTokens);
    if (fault) sequence.fail(fault);
    else if (prompt.length === 0) sequence.fail(new RangeError("The prompt holds no token"));
    else if (pages > engine.pages.total) {
      sequence.fail(
        new RangeError(
          `The prompt's ${prompt.length} tokens and ${sequence.outputTokens} to come exceed the ` +
            `engine's ${engine.pages.total * engine.pageTokens}`,
        ),
      );
    } else engine.submit(sequence);
    return sequence;
  }

  cachedPrefix(
    ids: number[],
    options: { model?: string; cacheScope?: string } = {},
  ): Promise<number> {
    const { pageTokens } = this.engines[0];
    const keys = pageKeys(ids, options.cacheScope ?? "", pageTokens);
    const pages = this.engines.map((engine) => engine.pages.match(keys));
    return Promise.resolve(Math.max(...pages) * pageTokens);
  }

  load(): EngineLoad[] {
    return this.engines.map((engine) => engine.load);
  }

  tokenize(text: string): Promise<number[]> {
    return Promise.resolve(encode(text));
  }

  detokenize(ids: number[]): Promise<string> {
    return Promise.resolve(decode(ids));
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.engines) engine.close();
    return Promise.resolve();
  }

  #least(): number {
    let best = 0;
    let least = Infinity;
    for (const [i, { load }] of this.engines.entries()) {
      if (load.running + load.waiting >= least) continue;
      [best, least] = [i, load.running + load.waiting];
    }
    return best;
  }
}

function promptIds(request: GenerateRequest): number[] {
  const { prompt } = request;
  if (prompt.type === "chat") {
    return encode(prompt.messages.map(({ role, content }) => `${role}: ${content}\n`).join(""));
  }
  const ids: number[] = [];
  for (const part of prompt.parts) {
    for (const id of part.type === "tokens" ? part.ids : encode(part.text)) ids.push(id);
  }
  return ids;
}
