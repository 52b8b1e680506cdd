import type { Engine } from "./engine.ts";
import type { EngineLoad, EnginePool, GenerateRequest, Generation, ModelInfo } from "./types.ts";

/** One engine in the caller's own isolate, behind the pool's interface. Its steps block the caller's event loop. */
export class LocalEnginePool implements EnginePool {
  readonly #engine: Engine;

  /** Takes `engine` over and disposes it. */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  models(): Promise<ModelInfo[]> {
    return Promise.resolve([this.#engine.info]);
  }

  submit(request: GenerateRequest): Generation {
    this.#check(request.model);
    return this.#engine.submit(request);
  }

  // Asynchronous, so that a refusal rejects instead of being thrown at the call.
  // deno-lint-ignore require-await
  async tokenize(
    text: string,
    options: { model?: string; addBos?: boolean; special?: boolean } = {},
  ): Promise<number[]> {
    this.#check(options.model);
    return this.#engine.tokenize(text, options);
  }

  // deno-lint-ignore require-await
  async detokenize(ids: number[], options: { model?: string } = {}): Promise<string> {
    this.#check(options.model);
    return this.#engine.detokenize(ids);
  }

  // deno-lint-ignore require-await
  async cachedPrefix(
    ids: number[],
    options: { model?: string; cacheScope?: string } = {},
  ): Promise<number> {
    this.#check(options.model);
    return this.#engine.cachedPrefix(ids, options.cacheScope);
  }

  load(): EngineLoad[] {
    return [this.#engine.load()];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#engine[Symbol.asyncDispose]();
  }

  #check(model: string | undefined): void {
    const { id } = this.#engine.info;
    if (model !== undefined && model !== id) {
      throw new TypeError(`no model ${JSON.stringify(model)} is served, expected ${id}`);
    }
  }
}
