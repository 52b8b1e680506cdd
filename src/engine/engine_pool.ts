import type { CarrierFactory } from "./carrier.ts";
import type { HostSpec } from "./host_messages.ts";
import { ProcessCarrier } from "./process_carrier.ts";
import { SupervisedHost, type SupervisionOptions } from "./supervised_host.ts";
import type { EngineLoad, EnginePool, GenerateRequest, Generation, ModelInfo } from "./types.ts";
import { WorkerCarrier } from "./worker_carrier.ts";

/** A model to host. Several entries of one id are several engines of that model. */
export interface HostedModel extends HostSpec {
  /** Its name in requests: the stem of its file. */
  id: string;
}

/** Settings of a `HostedEnginePool`. */
export interface EnginePoolOptions {
  /** At least one; the first is the default model. */
  models: HostedModel[];
  /** What each host is: a child process (default), a Worker, or what the function starts. */
  carrier?: "process" | "worker" | CarrierFactory;
  supervision?: Partial<SupervisionOptions>;
}

const carriers: Record<"process" | "worker", CarrierFactory> = {
  process: (onMessage) => new ProcessCarrier(onMessage),
  worker: (onMessage) => new WorkerCarrier(onMessage),
};

/** Engines in hosts of their own, each looked after: the pool that a server stands on. */
export class HostedEnginePool implements EnginePool {
  readonly #hosts: SupervisedHost[];

  /** Starts every host at once; work is accepted from now on and runs when its model is open. */
  constructor({ models, carrier = "process", supervision = {} }: EnginePoolOptions) {
    if (models.length === 0) throw new TypeError("an engine pool needs at least one model");
    const start = typeof carrier === "string" ? carriers[carrier] : carrier;
    this.#hosts = models.map(({ id, ...spec }) => {
      const engine = spec.engine ?? {};
      const maxWaiting = supervision.maxWaiting ?? engine.scheduler?.maxWaiting;
      // The limit is kept here, where a refusal can be thrown at once; the engine's own only has to admit as many.
      const scheduler = { ...engine.scheduler, ...(maxWaiting !== undefined && { maxWaiting }) };
      return new SupervisedHost(id, { ...spec, engine: { ...engine, scheduler } }, start, {
        ...supervision,
        ...(maxWaiting !== undefined && { maxWaiting }),
      });
    });
  }

  /**
   * Models that could be opened, once all have loaded or failed; the one named by `id` as soon as one of its engines is open. Rejects with the
   * first failure when none could.
   */
  async models(id?: string): Promise<ModelInfo[]> {
    if (id !== undefined) return [{ ...await this.#info(id), id }];
    const settled = await Promise.allSettled(this.#hosts.map((host) => host.ready));
    const infos = new Map<string, ModelInfo>();
    settled.forEach((result, i) => {
      const { id } = this.#hosts[i];
      if (result.status === "fulfilled" && !infos.has(id)) infos.set(id, { ...result.value, id });
    });
    if (infos.size === 0) await this.#hosts[0].ready;
    return [...infos.values()];
  }

  submit(request: GenerateRequest): Generation {
    return this.#route(request.model, request.engine).submit(request);
  }

  async tokenize(
    text: string,
    options: { model?: string; addBos?: boolean; special?: boolean } = {},
  ): Promise<number[]> {
    const { model, ...rest } = options;
    const question = { method: "tokenize" as const, text, options: rest };
    return await this.#route(model).ask(question) as number[];
  }

  async detokenize(ids: number[], options: { model?: string } = {}): Promise<string> {
    return await this.#route(options.model).ask({ method: "detokenize", ids }) as string;
  }

  async cachedPrefix(
    ids: number[],
    options: { model?: string; cacheScope?: string } = {},
  ): Promise<number> {
    const question = { method: "cachedPrefix" as const, ids, cacheScope: options.cacheScope ?? "" };
    const { id } = this.#route(options.model);
    const found = await Promise.all(
      this.#hosts
        .filter((host) => host.id === id && host.load().state !== "failed")
        .map((host) => host.ask(question) as Promise<number>),
    );
    return Math.max(0, ...found);
  }

  load(): EngineLoad[] {
    return this.#hosts.map((host) => host.load());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.close()));
  }

  async #info(id: string): Promise<ModelInfo> {
    const ready = this.#serving(id).map((host) => host.ready);
    // When all have failed, this rejects with the first's failure.
    return await Promise.any(ready).catch(() => ready[0]);
  }

  /** The engines of a model. Throws `TypeError` when there are none. */
  #serving(model: string): SupervisedHost[] {
    const fit = this.#hosts.filter(({ id }) => id === model);
    if (fit.length > 0) return fit;
    const names = [...new Set(this.#hosts.map(({ id }) => id))].join(", ");
    throw new TypeError(`no model ${JSON.stringify(model)} is served, expected one of ${names}`);
  }

  /** The wanted engine if it has the model, else the one with least to do. Throws `TypeError` for an unknown model. */
  #route(name?: string, engine?: number): SupervisedHost {
    const model = name ?? this.#hosts[0].id;
    const wanted = engine === undefined ? undefined : this.#hosts[engine];
    if (wanted?.id === model) return wanted;
    return this.#serving(model).reduce((best, host) =>
      busyness(host) < busyness(best) ? host : best
    );
  }
}

function busyness(host: SupervisedHost): number {
  const { state, waiting, running } = host.load();
  return waiting + running + (state === "failed" ? 1e9 : state === "starting" ? 1e6 : 0);
}
