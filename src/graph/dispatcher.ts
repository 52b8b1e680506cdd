import { CancelledError, CapacityError, DeviceLostError } from "../common/errors.ts";
import { PAGE_TOKENS } from "../common/page_tokens.ts";
import type { EnginePool, GenerateRequest, Generation } from "../engine/types.ts";
import { ChainTask } from "./chain_task.ts";
import type { Clock } from "./clock.ts";
import { GraphError } from "./graph_error.ts";
import type { ChainNode } from "./node.ts";
import { Planner, type PlannerOptions } from "./planner.ts";
import { PrefillAhead } from "./prefill_ahead.ts";
import { promptParts } from "./prompt_parts.ts";

/** Times a chain is started again after its engine was lost under it. */
const MAX_RETRIES = 3;
/** Milliseconds before it is: a host is back in seconds. */
const RETRY_MS = 500;

/** Knobs of the dispatcher and its planner. */
export interface DispatcherOptions extends PlannerOptions {
  /** Fill what is known of a prompt while its last inputs are produced. Default true. */
  prefillAhead?: boolean;
  /** Let tenants find each other's prefixes. Default false. */
  sharePrefixes?: boolean;
}

/** What the dispatcher tells of a chain. */
export interface DispatcherEvents {
  /** Its text is complete. */
  finished(chain: ChainNode, text: string, ids: number[] | undefined): void;
  failed(chain: ChainNode, error: Error): void;
}

/** Hands chains to engines in the planner's order, and their tokens to their variables. */
export class Dispatcher {
  readonly planner: Planner;
  readonly #pool: EnginePool;
  readonly #clock: Clock;
  readonly #events: DispatcherEvents;
  readonly #tasks = new Map<ChainNode, ChainTask>();
  readonly #timers = new Set<() => void>();
  readonly #ahead: PrefillAhead | undefined;
  readonly #sharePrefixes: boolean;
  #scheduled = false;
  #looking = false;
  #closed = false;

  constructor(
    pool: EnginePool,
    clock: Clock,
    events: DispatcherEvents,
    options: DispatcherOptions = {},
  ) {
    this.#pool = pool;
    this.#clock = clock;
    this.#events = events;
    const { prefillAhead = true, sharePrefixes = false, ...planner } = options;
    this.#sharePrefixes = sharePrefixes;
    this.#ahead = prefillAhead ? new PrefillAhead(pool) : undefined;
    this.planner = new Planner(planner);
  }

  /** Chains queued or running. */
  get size(): number {
    return this.#tasks.size;
  }

  /** Takes a chain whose inputs are all set. */
  enqueue(chain: ChainNode, tenant: string): void {
    this.#ahead?.stop(chain);
    this.#queue(this.#take(chain, tenant));
  }

  /** A chain's criteria have become stricter: if it still waits for an engine, it does so among its new equals. */
  raise(chain: ChainNode): void {
    const task = this.#tasks.get(chain);
    if (!task || chain.state !== "queued") return;
    this.planner.remove(task);
    this.#queue(this.#renew(task));
  }

  /** Drops a chain; its engine stops working on it. */
  cancel(chain: ChainNode): void {
    this.#ahead?.stop(chain);
    const task = this.#tasks.get(chain);
    if (!task) return;
    this.#tasks.delete(chain);
    this.planner.remove(task);
    task.generation?.cancel();
    this.#schedule();
  }

  /** Drops everything. */
  close(): void {
    this.#closed = true;
    this.#ahead?.close();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    for (const chain of [...this.#tasks.keys()]) this.cancel(chain);
  }

  #take(chain: ChainNode, tenant: string): ChainTask {
    const scope = this.#sharePrefixes ? "" : tenant;
    const task = new ChainTask(chain, tenant, scope, this.planner.charsPerToken);
    this.#tasks.set(chain, task);
    return task;
  }

  /** In place of a task, one by what its chain is now. */
  #renew(task: ChainTask): ChainTask {
    const renewed = this.#take(task.chain, task.tenant);
    renewed.arrival = task.arrival;
    renewed.attempts = task.attempts;
    return renewed;
  }

  #queue(task: ChainTask): void {
    const refusal = this.#refuse(task);
    if (refusal) return this.#fail(task, refusal);
    task.chain.state = "queued";
    this.planner.enqueue(task);
    this.#schedule();
  }

  #refuse(task: ChainTask): GraphError | undefined {
    const loads = this.#pool.load();
    const serving = loads.filter((load) =>
      task.models.length === 0 || task.models.includes(load.model)
    );
    if (serving.some((load) => load.state !== "failed")) return undefined;
    const wanted = task.models.length === 0 ? "any model" : task.models.join(" or ");
    const served = [...new Set(loads.map((load) => load.model))].join(", ") || "none";
    return new GraphError(
      "unavailable",
      serving.length === 0
        ? `No engine serves ${wanted}; served here: ${served}`
        : `Every engine that serves ${wanted} has failed`,
    );
  }

  /** Plans once for everything that becomes ready in the same turn, so that groups are seen whole. */
  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#closed || this.planner.waiting === 0) return;
    const loads = this.#pool.load();
    this.planner.observe(loads, PAGE_TOKENS);
    for (let next = this.planner.next(); next; next = this.planner.next()) {
      const task = next.task as ChainTask;
      this.#start(task, next.engine, loads[next.engine].model);
    }
    if (this.planner.waiting > 0 && loads.some((load) => load.state !== "ready")) this.#lookAgain();
  }

  /** An engine that becomes ready, or fails for good, says nothing: look again after a while. */
  #lookAgain(): void {
    for (const task of [...this.#tasks.values()]) {
      const refusal = task.chain.state === "queued" ? this.#refuse(task) : undefined;
      if (refusal) this.#fail(task, refusal);
    }
    if (this.#looking) return;
    this.#looking = true;
    this.#after(RETRY_MS, () => {
      this.#looking = false;
      this.#schedule();
    });
  }

  #start(task: ChainTask, engine: number, model: string): void {
    const { chain } = task;
    let generation: Generation;
    try {
      generation = this.#pool.submit(this.#request(task, engine, model));
    } catch (error) {
      this.planner.finished(task);
      if (error instanceof CapacityError) this.#again(task, error.retryAfterSeconds * 1000);
      else this.#fail(task, error as Error);
      return;
    }
    task.generation = generation;
    chain.state = "running";
    chain.times.started = this.#clock.now();
    this.#follow(task, generation, engine, model);
  }

  #request(task: ChainTask, engine: number, model: string): GenerateRequest {
    const { chain } = task;
    const { sampling, maxTokens, stop, stopTokens, ignoreEos, constraint } =
      chain.generate.sampling;
    const rank = task.urgent ? 0 : 1;
    return {
      id: `graph-${crypto.randomUUID()}`,
      model,
      engine,
      prompt: { type: "parts", parts: promptParts(chain) },
      maxTokens,
      sampling,
      stop: stop.length > 0 ? stop : undefined,
      stopTokens: stopTokens.length > 0 ? stopTokens : undefined,
      ignoreEos,
      constraint,
      cacheScope: task.scope,
      criteria: task.strict ? "latency" : "throughput",
      priority: rank * 2 ** 40 + task.application * 1024 - Math.min(task.depth, 1023),
    };
  }

  async #follow(
    task: ChainTask,
    generation: Generation,
    engine: number,
    model: string,
  ): Promise<void> {
    const { chain } = task;
    const { output, transforms, sampling } = chain.generate;
    const ids: number[] = [];
    let text = "";
    let look = 1;
    try {
      for await (const event of generation) {
        if (this.#tasks.get(chain) !== task) continue;
        if (event.type === "started") {
          const { promptTokens, cachedTokens } = event;
          chain.usage = { engine, promptTokens, cachedTokens, completionTokens: 0 };
        } else if (event.type === "delta") {
          const first = text === "" && ids.length === 0;
          if (first) this.#firstToken(task);
          for (const id of event.ids) ids.push(id);
          // What a call that is cut off has cost is known, too.
          if (chain.usage) chain.usage.completionTokens = ids.length;
          text += event.text;
          // With transforms the text is not yet the value; its readers get the value at the end.
          if (transforms.length === 0) output.append(event.text);
          // From the first token on, so as not to compete with this prompt's own fill; then rarely, since the
          // reader's prompt has to grow by many tokens before anything is done.
          if (ids.length >= look) {
            look = ids.length + 64;
            this.#ahead?.advance(chain, task.scope, engine, model);
          }
        } else if (event.type !== "finished") {
          continue;
        } else if (event.reason === "cancelled") {
          throw new CancelledError(`Generation of ${output.name} was cancelled by its engine`);
        } else if (event.reason === "length" && sampling.constraint) {
          // Whoever reads on counts on what was promised.
          throw new GraphError(
            "failed",
            `Generation of ${output.name} reached its ${sampling.maxTokens} tokens before its text was whole`,
          );
        } else {
          if (ids.length === 0) this.#firstToken(task);
          this.#end(task, event.usage.completionTokens);
          // Text that a stop string cut short is not what its tokens say: later chains continue from the text.
          this.#events.finished(chain, text, sampling.stop.length > 0 ? undefined : ids);
        }
      }
    } catch (error) {
      if (this.#tasks.get(chain) === task) this.#lost(task, error as Error);
    }
  }

  #firstToken(task: ChainTask): void {
    task.chain.times.firstToken = this.#clock.now();
    const { promptTokens, cachedTokens } = task.chain.usage ?? { promptTokens: 0, cachedTokens: 0 };
    this.planner.prefilled(task, promptTokens, cachedTokens);
    this.#schedule();
  }

  #end(task: ChainTask, completionTokens: number): void {
    if (task.chain.usage) task.chain.usage.completionTokens = completionTokens;
    this.#tasks.delete(task.chain);
    this.planner.finished(task, completionTokens);
    this.#schedule();
  }

  /** The generation broke: start again where nothing was shown of it and the engine, not the request, is at fault. */
  #lost(task: ChainTask, error: Error): void {
    task.generation = undefined;
    this.planner.finished(task);
    const retry = error instanceof DeviceLostError || error instanceof CapacityError;
    if (retry && task.attempts < MAX_RETRIES && task.chain.generate.output.restart()) {
      task.attempts++;
      this.#again(task, RETRY_MS * task.attempts);
    } else this.#fail(task, error);
  }

  #again(task: ChainTask, ms: number): void {
    task.chain.state = "waiting";
    this.#after(ms, () => {
      if (this.#tasks.get(task.chain) === task) this.#queue(this.#renew(task));
    });
  }

  #fail(task: ChainTask, error: Error): void {
    this.#tasks.delete(task.chain);
    this.planner.remove(task);
    this.#schedule();
    this.#events.failed(task.chain, error);
  }

  #after(ms: number, action: () => void): void {
    if (this.#closed) return;
    const cancel = this.#clock.after(ms, () => {
      this.#timers.delete(cancel);
      action();
    });
    this.#timers.add(cancel);
  }
}
