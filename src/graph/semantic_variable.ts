import type { CriteriaDemand } from "./criteria.ts";
import { GraphError } from "./graph_error.ts";
import type { GraphNode } from "./node.ts";

/** Where a variable stands. It leaves `pending` once and for ever. */
export type VariableState = "pending" | "ready" | "failed";

interface Waiter {
  resolve(value: string): void;
  reject(error: Error): void;
}

/**
 * A text (or, for media, a data URL) that one producer sets once and any number of readers wait for: the edges of
 * the application's graph, and what its client holds in place of a response.
 */
export class SemanticVariable {
  readonly id: string;
  readonly name: string;
  /** Who sets it; undefined while only a client can. */
  producer: GraphNode | undefined;
  /** Nodes that read it. */
  readonly consumers: GraphNode[] = [];
  /** What readers asked of it, deduced backwards from the outputs they wait for. */
  demand: CriteriaDemand | undefined;
  /** Block hashes of the value, kept by the prefix matcher once computed. */
  blocks: number[] | undefined;

  #state: VariableState = "pending";
  #value = "";
  #error: Error | undefined;
  #waiters = new Set<Waiter>();
  #listeners = new Set<() => void>();
  #streamed = false;
  readonly #settled: ((variable: SemanticVariable) => void) | undefined;

  /** `settled` is called once, after the last waiting reader was woken. */
  constructor(id: string, name: string, settled?: (variable: SemanticVariable) => void) {
    this.id = id;
    this.name = name;
    this.#settled = settled;
  }

  get state(): VariableState {
    return this.#state;
  }

  /** The value. Throws the variable's error when it failed, `GraphError` when it is still pending. */
  get value(): string {
    if (this.#state === "failed") throw this.#error;
    if (this.#state === "pending") {
      throw new GraphError("conflict", `Variable ${this.name} (${this.id}) has no value yet`);
    }
    return this.#value;
  }

  get error(): Error | undefined {
    return this.#error;
  }

  /** What has been produced so far: grows while its generation runs, and is the value in the end. */
  get partial(): string {
    return this.#value;
  }

  /** Readers that wait for it now, streams included. */
  get readers(): number {
    return this.#waiters.size + this.#listeners.size;
  }

  /** Sets the value and wakes every reader. Throws `GraphError` (conflict) the second time. */
  set(value: string): void {
    this.#settle("ready");
    this.#value = value;
    for (const waiter of this.#waiters) waiter.resolve(value);
    this.#release();
  }

  /** Ends it without a value: every reader, waiting or yet to come, gets `error`. */
  fail(error: Error): void {
    this.#settle("failed");
    this.#error = error;
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#release();
  }

  /** Adds to the value while it is being produced. Ignored once settled. */
  append(text: string): void {
    if (this.#state !== "pending" || text === "") return;
    this.#value += text;
    for (const listener of this.#listeners) listener();
  }

  /** Forgets what was produced, so that it can be produced again; false when a stream has shown some of it. */
  restart(): boolean {
    if (this.#state !== "pending") return false;
    if (this.#streamed && this.#value !== "") return false;
    this.#value = "";
    return true;
  }

  /** Resolves with the value; rejects with the variable's error, or with `signal`'s reason when the reader gives up. */
  wait(signal?: AbortSignal): Promise<string> {
    if (this.#state === "ready") return Promise.resolve(this.#value);
    if (this.#state === "failed") return Promise.reject(this.#error);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const forget = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", giveUp);
      };
      const giveUp = () => {
        forget();
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        resolve: (value) => (forget(), resolve(value)),
        reject: (error) => (forget(), reject(error)),
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", giveUp);
    });
  }

  /**
   * The value in pieces, as they are produced; the pieces joined are the value. A slow reader gets larger pieces:
   * nothing is buffered for it.
   */
  async *stream(signal?: AbortSignal): AsyncGenerator<string, void, void> {
    let sent = 0;
    while (true) {
      signal?.throwIfAborted();
      if (this.#state === "failed") throw this.#error;
      if (this.#value.length > sent) {
        this.#streamed = true;
        const piece = this.#value.slice(sent);
        sent = this.#value.length;
        yield piece;
        continue;
      }
      if (this.#state === "ready") return;
      await this.#change(signal);
    }
  }

  /** Calls `listener` at every piece and at the end, until the returned function is called. */
  observe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #change(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#listeners.delete(done);
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = () => {
        this.#listeners.delete(done);
        reject(signal?.reason);
      };
      this.#listeners.add(done);
      signal?.addEventListener("abort", giveUp, { once: true });
    });
  }

  #settle(state: VariableState): void {
    if (this.#state !== "pending") {
      throw new GraphError(
        "conflict",
        `Variable ${this.name} (${this.id}) is ${this.#state} already: it is assigned once`,
      );
    }
    this.#state = state;
  }

  #release(): void {
    this.#waiters.clear();
    for (const listener of [...this.#listeners]) listener();
    this.#listeners.clear();
    this.#settled?.(this);
  }
}
