import { Heap } from "./heap.ts";
import type { PrefixKey } from "./prefix_match.ts";

/** A chain that can run, as the planner sees it. */
export interface PlannedTask {
  /** Whose key it came with: tenants share engines fairly. */
  readonly tenant: string;
  /** Models that may run it; empty: any. */
  readonly models: readonly string[];
  /** Somebody waits for exactly this: it runs before bulk work and in small batches. */
  readonly strict: boolean;
  /** Somebody waits for something this belongs to: it runs before bulk work. */
  readonly urgent: boolean;
  /** Order in which applications began. */
  readonly application: number;
  /** Steps from the start of its application. */
  readonly depth: number;
  /** Task group; 0: none. */
  readonly group: number;
  readonly prefix: readonly PrefixKey[];
  /** Characters of the prompt. */
  readonly chars: number;
  /** Estimated. */
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** Set once it is no longer wanted. */
  removed?: boolean;
  /** Order of arrival, set by the queue. */
  arrival?: number;
}

interface TenantQueue {
  key: string;
  tenant: string;
  heap: Heap<PlannedTask>;
}

/** What is to be done with the task at hand. */
type Placement<T> = T | "wait" | undefined;

/** Bulk work gets at least one token in this many while urgent work would take all. */
const BULK_SHARE = 8;

/**
 * The order in which waiting tasks are considered. Urgent work before bulk work, which keeps a share of its own;
 * among the tenants of a class, the one served least (in tokens, since it last waited) first; for one tenant,
 * applications in the order they began, deeper steps first, so that started applications end before new ones begin,
 * with the members of a group and the sharers of a prefix side by side.
 */
export class TaskQueue {
  /** Urgent and bulk work: a queue for each tenant and set of models, since what one set has no room for must not hold up another. */
  readonly #classes: [Map<string, TenantQueue>, Map<string, TenantQueue>] = [new Map(), new Map()];
  readonly #served = new Map<string, number>();
  readonly #compare: (a: PlannedTask, b: PlannedTask) => number;
  #arrivals = 0;
  #size = 0;
  #bulkCredit = 0;

  constructor(applicationFirst: boolean) {
    this.#compare = applicationFirst ? byApplication : byArrival;
  }

  /** Tasks that wait. */
  get size(): number {
    return this.#size;
  }

  push(task: PlannedTask): void {
    task.arrival ??= this.#arrivals++;
    const queues = this.#classes[task.urgent ? 0 : 1];
    const key = [task.tenant, ...[...task.models].sort()].join("\n");
    let queue = queues.get(key);
    if (!queue) {
      queue = { key, tenant: task.tenant, heap: new Heap(this.#compare) };
      queues.set(key, queue);
      this.#enter(task.tenant);
    }
    queue.heap.push(task);
    this.#size++;
  }

  /** Adds to what a tenant has been given, in tokens. */
  serve(tenant: string, tokens: number): void {
    this.#served.set(tenant, (this.#served.get(tenant) ?? 0) + Math.max(0, tokens));
  }

  /**
   * Offers tasks in order until one is placed, and takes it out. `place` answers with what to return, with `wait` to
   * have the task taken out and held elsewhere, or with undefined when there is no room for it; then the next
   * tenant's first task is offered, not its own second, so that large tasks are not overtaken for ever.
   */
  take<T>(place: (task: PlannedTask) => Placement<T>): T | undefined {
    const contended = this.#classes.every((queues) => queues.size > 0);
    const bulkFirst = contended && this.#bulkCredit > 0;
    for (const index of bulkFirst ? [1, 0] : [0, 1]) {
      const queues = this.#classes[index];
      const taken = queues.size === 0 ? undefined : this.#takeFrom(queues, place);
      if (!taken) continue;
      const tokens = taken.task.promptTokens + taken.task.maxTokens;
      if (bulkFirst && index === 1) this.#bulkCredit -= tokens;
      // Bulk work that finds no room, of a model of its own maybe, saves up nothing meanwhile.
      else if (contended && !bulkFirst && index === 0) this.#bulkCredit += tokens / BULK_SHARE;
      return taken.result;
    }
    return undefined;
  }

  #takeFrom<T>(
    queues: Map<string, TenantQueue>,
    place: (task: PlannedTask) => Placement<T>,
  ): { task: PlannedTask; result: T } | undefined {
    const order = queues.size === 1
      ? [...queues.values()]
      : [...queues.values()].sort((a, b) =>
        this.#servedTo(a.tenant) - this.#servedTo(b.tenant) ||
        this.#compare(a.heap.peek()!, b.heap.peek()!)
      );
    for (const queue of order) {
      for (let task = queue.heap.peek(); task; task = queue.heap.peek()) {
        if (task.removed) {
          this.#drop(queue, queues);
          continue;
        }
        const result = place(task);
        if (result === undefined) break;
        this.#drop(queue, queues);
        if (result !== "wait") return { task, result: result as T };
      }
    }
    return undefined;
  }

  #drop(queue: TenantQueue, queues: Map<string, TenantQueue>): void {
    queue.heap.pop();
    this.#size--;
    if (queue.heap.size === 0) queues.delete(queue.key);
  }

  #servedTo(tenant: string): number {
    return this.#served.get(tenant) ?? 0;
  }

  /** A tenant that comes (back) starts level with the least served one that waits: idling earns no credit. */
  #enter(tenant: string): void {
    let least = Infinity;
    for (const queues of this.#classes) {
      for (const { tenant: other } of queues.values()) {
        if (other !== tenant) least = Math.min(least, this.#servedTo(other));
      }
    }
    if (least !== Infinity) this.#served.set(tenant, Math.max(this.#servedTo(tenant), least));
    else if (this.#served.size > 1024) this.#served.clear();
  }
}

function byArrival(a: PlannedTask, b: PlannedTask): number {
  return a.arrival! - b.arrival!;
}

function byApplication(a: PlannedTask, b: PlannedTask): number {
  return a.application - b.application || b.depth - a.depth || a.group - b.group ||
    (a.prefix[0]?.key ?? 0) - (b.prefix[0]?.key ?? 0) || a.arrival! - b.arrival!;
}
