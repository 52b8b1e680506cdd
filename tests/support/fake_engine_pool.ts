import { CapacityError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import { ceilDiv } from "../../src/common/math.ts";
import type {
  EngineLoad,
  EnginePool,
  GenerateEvent,
  GenerateRequest,
  Generation,
  ModelInfo,
  Prompt,
} from "../../src/engine/types.ts";

/** How a fake pool behaves. */
export interface FakePoolOptions {
  /** Names of its models, the default first. Default `["fake"]`. */
  models?: string[];
  /** Whether the models have a chat template. Default true. */
  chatTemplate?: boolean;
  /** The template's text. Default: not known. */
  template?: string;
  /** Whether the models say that texts can be constrained (they never are). Default true. */
  canConstrain?: boolean;
  /** The text a request is answered with. Default: words drawn by the request's seed. */
  reply?: (request: GenerateRequest, prompt: string) => string;
  /** Milliseconds before the first token of a request that runs. Default 0. */
  startDelayMs?: number;
  /** Milliseconds between tokens. Default 0. */
  tokenDelayMs?: number;
  /** Requests that run at once. Default 8. */
  maxRunning?: number;
  /** Requests that may wait; one more throws `CapacityError`. Default 64. */
  maxQueue?: number;
  /** Default 4096. */
  contextLength?: number;
  /** No model can be opened, for this. */
  opening?: Error;
  /** Every request fails so, after this many tokens. */
  failure?: { afterTokens: number; error: Error };
}

const pageTokens = 64;
const pagesTotal = 1024;
const words =
  ("a an and bird bright brown came day down far field flew found from garden green hill home in it light " +
    "little long morning nest of old on over quiet rain river road sang she small song sparrow stone sun the then " +
    "there to tree under upon walked was water went wild wind with wood young").split(" ");

/**
 * An engine pool without a model, for tests of what stands on top: tokens are Unicode code points, replies are
 * scripted, and capacity, delays, failures, the prefix cache and page counts behave as the contract says.
 */
export class FakeEnginePool implements EnginePool {
  /** Every request submitted, in order. */
  readonly requests: GenerateRequest[] = [];
  /** Requests that were cancelled before their end. */
  cancelled = 0;
  /** What `load` says of every engine's state. */
  state: EngineLoad["state"] = "ready";
  readonly #options:
    & Required<Omit<FakePoolOptions, "failure" | "opening" | "template">>
    & Pick<FakePoolOptions, "failure" | "opening" | "template">;
  readonly #waiting: FakeGeneration[] = [];
  readonly #running = new Set<FakeGeneration>();
  readonly #cache = new Map<string, number[][]>();
  readonly #totals = { prompt: 0, cached: 0, generated: 0 };

  constructor(options: FakePoolOptions = {}) {
    this.#options = {
      models: ["fake"],
      chatTemplate: true,
      canConstrain: true,
      reply: (request) => replyFromSeed(request.sampling.seed),
      startDelayMs: 0,
      tokenDelayMs: 0,
      maxRunning: 8,
      maxQueue: 64,
      contextLength: 4096,
      ...options,
    };
  }

  models(): Promise<ModelInfo[]> {
    if (this.#options.opening) return Promise.reject(this.#options.opening);
    return Promise.resolve(this.#options.models.map((id) => ({
      id,
      architecture: "fake",
      contextLength: this.#options.contextLength,
      vocabularySize: 0x110000,
      parameters: 0,
      created: 1_700_000_000,
      hasChatTemplate: this.#options.chatTemplate,
      chatTemplate: this.#options.template,
      canConstrain: this.#options.canConstrain,
      device: "none",
    })));
  }

  submit(request: GenerateRequest): Generation {
    const model = request.model ?? this.#options.models[0];
    if (!this.#options.models.includes(model)) throw new TypeError(`submit: no model "${model}"`);
    if (
      this.#running.size >= this.#options.maxRunning &&
      this.#waiting.length >= this.#options.maxQueue
    ) {
      throw new CapacityError(
        `submit: ${this.#waiting.length} requests wait, at most ${this.#options.maxQueue} may`,
        2,
      );
    }
    this.requests.push(request);
    const generation = new FakeGeneration(request, () => this.#leave(generation));
    this.#waiting.push(generation);
    this.#admit();
    return generation;
  }

  cachedPrefix(ids: number[], options: { cacheScope?: string } = {}): Promise<number> {
    return Promise.resolve(this.#cachedTokens(ids, options.cacheScope ?? ""));
  }

  tokenize(text: string): Promise<number[]> {
    return Promise.resolve(Array.from(text, (c) => c.codePointAt(0) as number));
  }

  detokenize(ids: number[]): Promise<string> {
    return Promise.resolve(String.fromCodePoint(...ids));
  }

  load(): EngineLoad[] {
    const pagesUsed = [...this.#running].reduce((sum, g) => sum + ceilDiv(g.tokens, pageTokens), 0);
    return this.#options.models.map((model, i) => ({
      model,
      state: this.state,
      waiting: i === 0 ? this.#waiting.length : 0,
      running: i === 0 ? this.#running.size : 0,
      pagesTotal,
      pagesUsed: i === 0 ? pagesUsed : 0,
      pagesCached: 0,
      promptTokens: this.#totals.prompt,
      cachedPromptTokens: this.#totals.cached,
      generatedTokens: this.#totals.generated,
      preemptions: 0,
      steps: this.#totals.generated,
      restarts: 0,
      gpuBytes: 0,
      cpuBytes: 0,
    }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const generation of [...this.#waiting, ...this.#running]) generation.cancel();
    return Promise.resolve();
  }

  #admit(): void {
    while (this.#running.size < this.#options.maxRunning) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#running.add(next);
      this.#run(next).catch((error) => next.fail(error)).finally(() => this.#leave(next));
    }
  }

  #leave(generation: FakeGeneration): void {
    const at = this.#waiting.indexOf(generation);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      this.cancelled++;
    }
    if (this.#running.delete(generation)) this.#admit();
  }

  async #run(generation: FakeGeneration): Promise<void> {
    const { request } = generation;
    generation.admitted = true;
    const { failure, tokenDelayMs, startDelayMs, contextLength } = this.#options;
    const submitted = performance.now();
    const prompt = promptText(request.prompt);
    const ids = await this.tokenize(prompt);
    if (ids.length >= contextLength) {
      throw new RangeError(
        `prompt: ${ids.length} tokens, expected fewer than the context's ${contextLength}`,
      );
    }
    generation.tokens = ids.length;
    const scope = request.cacheScope ?? "";
    const cachedTokens = this.#cachedTokens(ids, scope);
    this.#totals.prompt += ids.length;
    this.#totals.cached += cachedTokens;
    generation.push({ type: "started", promptTokens: ids.length, cachedTokens });
    for (let tokens = 512; request.progress && tokens < ids.length; tokens += 512) {
      generation.push({ type: "reading", tokens, promptTokens: ids.length });
    }
    if (startDelayMs > 0) await generation.sleep(startDelayMs);

    const whole = this.#options.reply(request, prompt);
    const { text, stopped } = cutAtStop(whole, request.stop ?? []);
    const reply = Array.from(text);
    const room = Math.min(request.maxTokens ?? Infinity, contextLength - ids.length);
    const kept = reply.slice(0, room);
    let first = 0;
    let made = 0;
    for (const c of kept) {
      if (generation.done) break;
      if (failure !== undefined && made >= failure.afterTokens) throw failure.error;
      if (made > 0 || tokenDelayMs > 0) await generation.sleep(tokenDelayMs);
      if (generation.done) break;
      if (made++ === 0) first = performance.now();
      generation.tokens++;
      this.#totals.generated++;
      generation.push({ type: "delta", ids: [c.codePointAt(0) as number], text: c });
    }
    if (failure !== undefined && made >= failure.afterTokens) throw failure.error;
    if (generation.cancelled) this.cancelled++;
    const cached = this.#cache.get(scope) ?? [];
    this.#cache.set(scope, [...cached.slice(-64), ids]);
    const end = performance.now();
    generation.push({
      type: "finished",
      reason: generation.cancelled
        ? "cancelled"
        : stopped || kept.length === reply.length
        ? "stop"
        : "length",
      usage: {
        promptTokens: ids.length,
        completionTokens: made,
        cachedTokens,
        ttftMs: made > 0 ? first - submitted : 0,
        decodeMs: made > 0 ? end - first : 0,
      },
    });
  }

  #cachedTokens(ids: number[], scope: string): number {
    let best = 0;
    for (const other of this.#cache.get(scope) ?? []) {
      let n = 0;
      while (n < ids.length && n < other.length && ids[n] === other[n]) n++;
      best = Math.max(best, n);
    }
    return Math.floor(Math.min(best, ids.length - 1) / pageTokens) * pageTokens;
  }
}

class FakeGeneration implements Generation {
  readonly id: string;
  tokens = 0;
  admitted = false;
  cancelled = false;
  done = false;
  readonly #events: GenerateEvent[] = [];
  #error?: Error;
  #wake?: () => void;
  #endSleep?: () => void;
  readonly #onCancelWaiting: () => void;

  constructor(readonly request: GenerateRequest, onCancelWaiting: () => void) {
    this.id = request.id;
    this.#onCancelWaiting = onCancelWaiting;
  }

  push(event: GenerateEvent): void {
    if (event.type === "finished") this.done = true;
    this.#events.push(event);
    this.#wake?.();
  }

  fail(error: Error): void {
    this.done = true;
    this.#error = error;
    this.#wake?.();
  }

  cancel(): void {
    if (this.done) return;
    this.cancelled = true;
    this.done = true;
    this.#endSleep?.();
    if (!this.admitted) this.#cancelWaiting();
  }

  async sleep(ms: number): Promise<void> {
    if (this.done) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endSleep = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#endSleep = undefined;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<GenerateEvent> {
    try {
      while (true) {
        const event = this.#events.shift();
        if (event !== undefined) {
          yield event;
          if (event.type === "finished") return;
        } else if (this.#error !== undefined) {
          throw this.#error;
        } else {
          await new Promise<void>((resolve) => this.#wake = resolve);
        }
      }
    } finally {
      this.cancel();
    }
  }

  #cancelWaiting(): void {
    this.#onCancelWaiting();
    this.push({
      type: "finished",
      reason: "cancelled",
      usage: { promptTokens: 0, completionTokens: 0, cachedTokens: 0, ttftMs: 0, decodeMs: 0 },
    });
  }
}

/** The prompt as the fake model sees it: chats are rendered as `<role>content` lines. */
export function promptText(prompt: Prompt): string {
  if (prompt.type === "chat") {
    return prompt.messages.map((m) => `<${m.role}>${m.content}\n`).join("") + "<assistant>";
  }
  return prompt.parts.map((p) => p.type === "text" ? p.text : String.fromCodePoint(...p.ids))
    .join("");
}

function replyFromSeed(seed: number): string {
  const rng = new Rng(seed);
  return Array.from({ length: 12 }, () => words[rng.integer(words.length)]).join(" ") + ".";
}

function cutAtStop(text: string, stops: string[]): { text: string; stopped: boolean } {
  const at = Math.min(...stops.map((s) => text.indexOf(s)).filter((i) => i >= 0));
  return Number.isFinite(at)
    ? { text: text.slice(0, at), stopped: true }
    : { text, stopped: false };
}
