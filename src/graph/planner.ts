import type { EngineLoad } from "../engine/types.ts";
import { EnginePrefixes, type RunningFill } from "./engine_prefixes.ts";
import type { PrefixKey } from "./prefix_match.ts";
import { type PlannedTask, TaskQueue } from "./task_queue.ts";

/** Knobs of the planner, each with a default. */
export interface PlannerOptions {
  /** Tasks handed to one engine at a time; more wait here, where they can still be ordered. Default 128. */
  tasksPerEngine?: number;
  /** Tokens resident on an engine while latency-critical work is on it; bulk work beyond waits. Default: no bound. */
  latencyTokens?: number;
  /**
   * Tokens of bulk work handed to one engine at a time: beyond what keeps it busy, work that waits here can still
   * be ordered and go to whichever engine is free first. Default: what fits in its memory.
   */
  bulkTokens?: number;
  /** Place work where its prefix is, keep strict work from bulk work. Default true; false takes engines in turn. */
  affinity?: boolean;
  /** Order by application, depth and group. Default true; false is first come, first served. */
  applicationFirst?: boolean;
  /** Hold work back while its prefix is being filled by other work. Default true. */
  shareFills?: boolean;
}

/** A task, and the engine that is to run it. */
export interface Assignment {
  task: PlannedTask;
  engine: number;
  /** Tokens of its prompt that the engine is believed to hold. */
  sharedTokens: number;
}

interface EngineState {
  index: number;
  model: string;
  capacity: number;
  restarts: number;
  prefixes: EnginePrefixes;
  tasks: number;
  /** Tokens that running tasks hold, shared prefixes counted where they were filled. */
  used: number;
  strictTasks: number;
  bulkTokens: number;
  /** Prompt tokens handed over and not yet processed. */
  pendingPrefill: number;
}

interface Running {
  engine: EngineState;
  fill: RunningFill | undefined;
  need: number;
  prefill: number;
}

/**
 * A shared prefix worth waiting for: shorter ones are cheaper to fill twice than to serialise (a 13B model on an A100
 * fills 256 tokens in about two decode steps).
 */
const MIN_SHARED_TOKENS = 256;
/**
 * Weight of tokens read in every step against tokens to fill: what a token in memory costs later steps, over some 50 of them. With 0.1 to 1 the
 * simulated four assistants take 104 ms a token at 3 requests/s; without the part of `#score` that counts the other tasks, 116 to 163.
 */
const LOAD_WEIGHT = 0.25;

/**
 * Tokens that an output counts for at most before it is there. What it may generate says little of what it will: counted in full, one call of
 * as many tokens as a context has keeps all others waiting. Where more come after all, the engine takes pages back.
 */
const MAX_OUTPUT_TOKENS = 2048;

/**
 * Decides which call runs next, and where. Pure: it is told what happens and answers with assignments; engines are
 * seen through their `load()` alone. Order comes from `TaskQueue`; placement weighs, for every engine, tokens still to
 * fill there (what the prefix leaves over, and what waits before it), tokens that steps will read because of it, and the company: strict work is kept from
 * engines full of bulk work, and bulk work from engines that serve strict work.
 */
export class Planner {
  readonly #queue: TaskQueue;
  readonly #options: Required<PlannerOptions>;
  readonly #engines: EngineState[] = [];
  readonly #running = new Map<PlannedTask, Running>();
  readonly #parked = new Set<PlannedTask>();
  #turn = 0;
  #charsPerToken = 4;

  constructor(options: PlannerOptions = {}) {
    this.#options = {
      tasksPerEngine: 128,
      latencyTokens: Infinity,
      bulkTokens: Infinity,
      affinity: true,
      applicationFirst: true,
      shareFills: true,
      ...options,
    };
    this.#queue = new TaskQueue(this.#options.applicationFirst);
  }

  /** Characters per token, learnt from what engines report. */
  get charsPerToken(): number {
    return this.#charsPerToken;
  }

  /** Tasks that wait, here or for a shared prefix. */
  get waiting(): number {
    return this.#queue.size + this.#parked.size;
  }

  /** Takes the engines' latest load. Engines are told apart by their place in the list. */
  observe(loads: readonly EngineLoad[], pageTokens: number): void {
    loads.forEach((load, index) => {
      const capacity = load.state === "ready" ? load.pagesTotal * pageTokens : 0;
      const known = this.#engines[index];
      if (!known || known.model !== load.model) {
        this.#engines[index] = {
          index,
          model: load.model,
          capacity,
          restarts: load.restarts,
          prefixes: new EnginePrefixes(capacity * this.#charsPerToken),
          tasks: 0,
          used: 0,
          strictTasks: 0,
          bulkTokens: 0,
          pendingPrefill: 0,
        };
        return;
      }
      if (known.restarts !== load.restarts) known.prefixes.forget();
      known.restarts = load.restarts;
      if (known.capacity !== capacity) known.prefixes.resize(capacity * this.#charsPerToken);
      known.capacity = capacity;
    });
  }

  /** Queues a task whose inputs are all there. */
  enqueue(task: PlannedTask): void {
    this.#queue.push(task);
  }

  /** Takes a waiting task out, or notes that a running one ended. */
  remove(task: PlannedTask): void {
    task.removed = true;
    this.#parked.delete(task);
    this.finished(task);
  }

  /** The next task that some engine has room for. */
  next(): Assignment | undefined {
    return this.#queue.take((task) => this.#place(task));
  }

  /** The prompt of a running task is in the engine's memory. */
  prefilled(task: PlannedTask, promptTokens: number, cachedTokens: number): void {
    const running = this.#running.get(task);
    if (!running) return;
    running.engine.pendingPrefill -= running.prefill;
    running.prefill = 0;
    const { chars } = task;
    if (chars >= 256 && promptTokens > 0) {
      const seen = Math.min(Math.max(chars / promptTokens, 0.5), 16);
      this.#charsPerToken += 0.05 * (seen - this.#charsPerToken);
    }
    this.#queue.serve(task.tenant, promptTokens - cachedTokens);
    if (running.fill) {
      running.engine.prefixes.end(running.fill, task.prefix, true);
      running.fill = undefined;
    } else running.engine.prefixes.touch(task.prefix);
  }

  /** A running task ended, whichever way. */
  finished(task: PlannedTask, generatedTokens = 0): void {
    const running = this.#running.get(task);
    if (!running) return;
    this.#running.delete(task);
    const { engine } = running;
    engine.tasks--;
    engine.used -= running.need;
    engine.pendingPrefill -= running.prefill;
    if (task.strict) engine.strictTasks--;
    else engine.bulkTokens -= running.need;
    if (running.fill) engine.prefixes.end(running.fill, task.prefix, false);
    // A generated token keeps an engine about as busy as four tokens of a prompt.
    this.#queue.serve(task.tenant, 4 * generatedTokens);
  }

  #place(task: PlannedTask): Assignment | "wait" | undefined {
    let best: EngineState | undefined;
    let bestScore = Infinity;
    let bestShared = 0;
    const engines = this.#candidates(task);
    // An engine refuses it: waiting here until one is idle, which may be never, it would hold up what comes after it.
    const tooLong = engines.every((engine) => task.promptTokens > engine.capacity);
    for (const engine of engines) {
      const shared = this.#shared(engine, task.prefix);
      if (!tooLong && !this.#fits(engine, task, shared)) continue;
      const score = this.#options.affinity ? this.#score(engine, task, shared) : 0;
      if (score < bestScore) [best, bestScore, bestShared] = [engine, score, shared];
      if (!this.#options.affinity) break;
    }
    if (!best) return undefined;
    if (this.#options.shareFills && this.#park(task, best, bestShared)) return "wait";
    this.#turn = best.index + 1;
    this.#start(task, best, bestShared);
    return { task, engine: best.index, sharedTokens: bestShared };
  }

  /** Engines that serve the task; without affinity, in turn. */
  #candidates(task: PlannedTask): EngineState[] {
    const serving = this.#engines.filter((engine) =>
      engine.capacity > 0 && (task.models.length === 0 || task.models.includes(engine.model))
    );
    if (this.#options.affinity || serving.length < 2) return serving;
    const start = serving.findIndex((engine) => engine.index >= this.#turn);
    return start <= 0 ? serving : [...serving.slice(start), ...serving.slice(0, start)];
  }

  #shared(engine: EngineState, keys: readonly PrefixKey[]): number {
    return Math.floor(engine.prefixes.match(keys) / this.#charsPerToken);
  }

  #fits(engine: EngineState, task: PlannedTask, shared: number): boolean {
    if (engine.tasks === 0) return true;
    if (engine.tasks >= this.#options.tasksPerEngine) return false;
    const after = engine.used + this.#need(task, shared);
    if (after > engine.capacity) return false;
    if (task.strict) return true;
    if (engine.strictTasks > 0 && after > this.#options.latencyTokens) return false;
    return engine.bulkTokens === 0 ||
      engine.bulkTokens + this.#need(task, shared) <= this.#options.bulkTokens;
  }

  #need(task: PlannedTask, shared: number): number {
    return Math.max(0, task.promptTokens - shared) + Math.min(task.maxTokens, MAX_OUTPUT_TOKENS);
  }

  #score(engine: EngineState, task: PlannedTask, shared: number): number {
    const filling = engine.prefixes.matchFilling(task.prefix, shared * this.#charsPerToken);
    const known = filling ? filling.chars / this.#charsPerToken : shared;
    const toFill = Math.max(0, task.promptTokens - known) + engine.pendingPrefill;
    // What the task reads in every step: all that is resident. What the others read because of it: a prefix that is not there yet, in the
    // steps of every task there.
    const fresh = Math.max(0, task.promptTokens - known);
    const load = LOAD_WEIGHT * (engine.used + engine.tasks * fresh);
    return toFill + load + this.#company(engine, task);
  }

  /**
   * The cost of sharing an engine with work of the other kind: bulk tokens beyond what strict work leaves room for
   * stand still. The first strict task on an engine does that to all bulk work there, a further one to little; so
   * strict work gathers where strict work is, and bulk work goes where nothing throttles it.
   */
  #company(engine: EngineState, task: PlannedTask): number {
    const { latencyTokens } = this.#options;
    const throttled = (strict: number, used: number) =>
      strict > 0 ? Math.min(engine.bulkTokens, Math.max(0, used - latencyTokens)) : 0;
    const need = this.#need(task, 0);
    if (!task.strict) return throttled(engine.strictTasks, engine.used + need);
    return throttled(engine.strictTasks + 1, engine.used + need) -
      throttled(engine.strictTasks, engine.used);
  }

  /** Lets the task wait for a prefix that other work is filling on `engine`. */
  #park(task: PlannedTask, engine: EngineState, shared: number): boolean {
    const filling = engine.prefixes.matchFilling(task.prefix, shared * this.#charsPerToken);
    if (!filling) return false;
    if (filling.chars / this.#charsPerToken - shared < MIN_SHARED_TOKENS) return false;
    this.#parked.add(task);
    filling.fill.waiting.push(() => {
      if (this.#parked.delete(task)) this.#queue.push(task);
    });
    return true;
  }

  #start(task: PlannedTask, engine: EngineState, shared: number): void {
    const need = this.#need(task, shared);
    const prefill = Math.max(0, task.promptTokens - shared);
    const fill = task.prefix.length > 0 ? engine.prefixes.begin(task.prefix) : undefined;
    engine.tasks++;
    engine.used += need;
    engine.pendingPrefill += prefill;
    if (task.strict) engine.strictTasks++;
    else engine.bulkTokens += need;
    this.#running.set(task, { engine, fill, need, prefill });
  }
}
