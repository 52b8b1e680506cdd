import { asError } from "../common/as_error.ts";
import { log } from "../common/log.ts";
import { Changes } from "./changes.ts";
import { type Clock, sleep, systemClock } from "./clock.ts";
import { type Criteria, deduceCriteria, parseCriteria } from "./criteria.ts";
import { Dispatcher } from "./dispatcher.ts";
import { FairShare } from "./fair_share.ts";
import { buildOperation } from "./graph_builder.ts";
import { GraphError, shuttingDown } from "./graph_error.ts";
import type { GraphRuntimeOptions } from "./graph_runtime_options.ts";
import type { GraphStore, StoredSession } from "./graph_store.ts";
import { randomSafeInteger, randomSecret } from "./ids.ts";
import type { Application, ChainNode, GraphNode } from "./node.ts";
import type { Operation, Submitted } from "./operation.ts";
import { performNode, refuseUnsupported } from "./perform_node.ts";
import { rebuildSession } from "./rebuild_session.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import { defaultSessionLimits, Session } from "./session.ts";
import { applyTransforms } from "./transform.ts";

/** How often expired sessions are looked for. */
const SWEEP_MS = 5000;
/** Sessions that are ended at once, and the pause before others are: all that a restart brought back expire together, and a store takes 0.2 ms for each. */
const SWEEP_SESSIONS = 100;
const SWEEP_PAUSE_MS = 50;
/** How often a runtime that drains looks whether something runs. */
const DRAIN_LOOK_MS = 20;
/** An application goes on if its next step comes within this time of its last one: longer than a client's round trip. */
const APPLICATION_PAUSE_MS = 2000;

/**
 * The graph server: sessions of semantic variables, and the work that sets them. Nothing runs until somebody wants
 * an output; then everything it depends on runs as soon as its own inputs are there, without the client.
 */
export class GraphRuntime implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #options: GraphRuntimeOptions;
  readonly #sessions = new Map<number, Session>();
  readonly #places: FairShare;
  readonly #chars: FairShare;
  readonly #dispatcher: Dispatcher;
  readonly #changes: Changes;
  readonly #owners = new WeakMap<GraphNode, Session>();
  readonly #aborts = new Map<GraphNode, AbortController>();
  readonly #deadlines = new Map<GraphNode, () => void>();
  readonly #settledQueue: { session: Session; variable: SemanticVariable }[] = [];
  #propagating = false;
  #applications = 0;
  #draining = false;
  #cancelSweep: (() => void) | undefined;
  #closed = false;

  constructor(options: GraphRuntimeOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { maxSessions = 10_000, maxChars = 512 * 1024 * 1024, tenants = 1 } = options;
    this.#places = new FairShare("sessions", maxSessions, tenants > 1);
    this.#chars = new FairShare("characters", maxChars, tenants > 1);
    this.#changes = new Changes(options.store);
    this.#dispatcher = new Dispatcher(options.pool, this.#clock, {
      finished: (chain, text, ids) => this.#generated(chain, text, ids),
      failed: (chain, error) => this.#fail(chain, error),
    }, options.planner);
    for (const stored of options.store?.load() ?? []) this.#restore(stored);
  }

  /** The clock that times are given in. */
  get clock(): Clock {
    return this.#clock;
  }

  /** Sessions open now. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Characters that all sessions hold. */
  get charCount(): number {
    return this.#chars.held;
  }

  /** Chains queued or running now. */
  get chainCount(): number {
    return this.#dispatcher.size;
  }

  /** Opens a session for `tenant`. Throws `GraphError` (limit) when too many are open, of all tenants or of this one. */
  openSession(tenant = "", options: { lifeSpanMs?: number } = {}): Session {
    if (!this.#places.fits(tenant, 1)) this.#sweep();
    this.#places.check(tenant, 1, "Open a session");
    let id = randomSafeInteger();
    while (this.#sessions.has(id)) id = randomSafeInteger();
    const session = this.#newSession(id, randomSecret(), tenant, options.lifeSpanMs);
    try {
      this.#changes.keep((store) => store.openSession(session));
    } catch (error) {
      this.#forget(session);
      throw error;
    }
    session.join(this.#chars);
    return session;
  }

  /** The open session of that id, kept alive by the asking. Throws `GraphError` (not_found). */
  session(id: number): Session {
    const session = this.#sessions.get(id);
    if (!session || this.#expired(session)) {
      if (session) this.closeSession(id, `Session (session_id=${id}) is not valid: it expired`);
      throw new GraphError("not_found", `Session (session_id=${id}) not found.`);
    }
    session.lastAccess = this.#clock.now();
    return session;
  }

  /** Ends a session: its work stops, and whoever still waits in it is told. */
  closeSession(id: number, reason = `Session ${id} was closed`): void {
    const session = this.#sessions.get(id);
    if (!session) throw new GraphError("not_found", `Session (session_id=${id}) not found.`);
    this.#forget(session);
    if (this.#sessions.size === 0) {
      this.#cancelSweep?.();
      this.#cancelSweep = undefined;
    }
    this.#keep((store) => store.closeSession(id));
    const error = new GraphError("cancelled", reason);
    for (const node of session.nodes) this.#stop(node);
    for (const variable of session.variables.values()) {
      if (variable.state === "pending") variable.fail(error);
    }
  }

  /**
   * Makes all variables and calls that `work` makes in a session, or none: when it throws, or they cannot be kept (`GraphError`, unavailable),
   * the session is as before. Values are set, and calls start, once all are made.
   */
  atomically<T>(session: Session, work: () => T): T {
    return this.#changes.atomically(session, work);
  }

  /** Makes a variable, with a value or to be set later. Throws `GraphError`: limit, unavailable. */
  createVariable(session: Session, name: string, content?: string): SemanticVariable {
    return this.atomically(session, () => {
      if (content !== undefined) session.charge(content.length, `Variable ${name}`);
      const variable = session.addVariable(crypto.randomUUID(), name);
      this.#changes.add({
        keep: (store) => {
          store.createVariable(session.id, variable);
          if (content !== undefined) store.set(session.id, variable.id, content);
        },
        begin: () => content !== undefined && variable.set(content),
        undo: () => session.variables.delete(variable.id),
      });
      return variable;
    });
  }

  /** Sets a variable that no call sets. Throws `GraphError`: conflict, not_found, limit, unavailable. */
  setVariable(session: Session, id: string, content: string): void {
    const variable = session.variable(id);
    if (variable.producer) {
      throw new GraphError("conflict", `Variable ${id} is set by a call; a client cannot set it`);
    }
    if (variable.state !== "pending") {
      throw new GraphError(
        "conflict",
        `Variable ${id} is ${variable.state} already: it is set once`,
      );
    }
    this.atomically(session, () => {
      session.charge(content.length, `Variable ${variable.name}`);
      this.#changes.add({
        keep: (store) => store.set(session.id, id, content),
        begin: () => variable.set(content),
        undo: () => {},
      });
    });
  }

  /** Adds calls to the graph. Throws `GraphError`; the graph is as before then. */
  submit(session: Session, operation: Operation): Submitted {
    if (this.#draining) throw new GraphError("unavailable", shuttingDown);
    const wanted = operation.outputCriteria ?? undefined;
    const criteria = wanted === undefined ? undefined : parseCriteria(wanted);
    refuseUnsupported(operation.kind, this.#options);
    const ids: string[] = [];
    const newVariableId = () => {
      const id = crypto.randomUUID();
      ids.push(id);
      return id;
    };
    return this.atomically(session, () => {
      const built = buildOperation(session, operation, { now: this.#clock.now(), newVariableId });
      const { requestId, parameters, nodes } = built;
      this.#changes.add({
        keep: (store) => store.submit(session.id, requestId, operation, ids),
        begin: () => {
          for (const node of nodes) this.#adopt(session, node);
          const last = nodes.at(-1)?.outputs.at(-1);
          if (criteria && last) this.demand(session, last, criteria);
        },
        undo: built.undo,
      });
      return { requestId, parameters };
    });
  }

  /** Asks for a variable: whatever it depends on starts as soon as it can. */
  demand(session: Session, variable: SemanticVariable, criteria: Criteria): void {
    if (variable.state !== "pending") return;
    const before = variable.demand?.criteria;
    const { activated, raised } = deduceCriteria(variable, criteria);
    if (variable.demand?.criteria !== before) {
      this.#keep((store) => store.demand(session.id, variable.id, criteria));
    }
    for (const node of raised) if (node.kind === "chain") this.#dispatcher.raise(node);
    if (activated.length === 0) return;
    const application = this.#applicationOf(activated);
    for (const node of activated) {
      node.application = application;
      if (node.state !== "idle") continue;
      if (node.missing === 0) this.#start(session, node);
      else node.state = "waiting";
    }
  }

  /**
   * The value of a variable, waited for. `criteria` is what the wire said: it is read only while the variable is
   * pending. Rejects with `GraphError` or with the failure of the work.
   */
  read(
    session: Session,
    id: string,
    criteria: unknown,
    signal?: AbortSignal,
  ): Promise<string> {
    const variable = session.variable(id);
    if (variable.state === "pending") this.demand(session, variable, parseCriteria(criteria));
    return variable.wait(signal);
  }

  /** Stops the work that would set a variable; it and what depends on it fail. */
  cancelVariable(session: Session, id: string): void {
    const variable = session.variable(id);
    if (variable.state !== "pending") return;
    const error = new GraphError("cancelled", `Variable ${variable.name} (${id}) was cancelled`);
    if (variable.producer) this.#fail(variable.producer, error);
    else variable.fail(error);
  }

  /** Takes no calls any more, and resolves once nothing runs, or after `ms` milliseconds. */
  async drain(ms: number): Promise<void> {
    this.#draining = true;
    const end = this.#clock.now() + ms;
    while (this.#running && this.#clock.now() < end) await sleep(this.#clock, DRAIN_LOOK_MS);
  }

  get #running(): boolean {
    return this.#dispatcher.size + this.#aborts.size > 0;
  }

  /** Ends every session and lets go of the engines. Pools stay open: they belong to the caller. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#cancelSweep?.();
    for (const cancel of this.#deadlines.values()) cancel();
    this.#deadlines.clear();
    this.#dispatcher.close();
    const error = new GraphError("unavailable", shuttingDown);
    const store = this.#options.store;
    for (const session of this.#sessions.values()) {
      session.close();
      for (const node of session.nodes) this.#stop(node);
      for (const variable of session.variables.values()) {
        if (variable.state === "pending") variable.fail(error);
      }
    }
    this.#sessions.clear();
    store?.close();
    return Promise.resolve();
  }

  /** A session that this server cannot rebuild, having other limits or other rules than the one that kept it, keeps no other from coming back. */
  #restore(stored: StoredSession): void {
    const session = this.#newSession(stored.id, stored.secret, stored.tenant, stored.lifeSpanMs);
    try {
      const unfinished = rebuildSession(session, stored, this.#clock.now());
      session.join(this.#chars);
      for (const node of unfinished) this.#adopt(session, node);
      for (const { id, criteria } of stored.demands) {
        const variable = session.variables.get(id);
        if (variable) this.demand(session, variable, criteria);
      }
    } catch (error) {
      this.#forget(session);
      log("error", `session ${stored.id} cannot be rebuilt`, { error: String(error) });
    }
  }

  #newSession(id: number, secret: string, tenant: string, lifeSpanMs?: number): Session {
    const session = new Session({
      id,
      secret,
      tenant,
      lifeSpanMs: lifeSpanMs ?? this.#options.sessionLifeSpanMs ?? 600_000,
      limits: { ...defaultSessionLimits, ...this.#options.limits },
      now: this.#clock.now(),
      settled: (session, variable) => this.#settled(session, variable),
    });
    this.#sessions.set(id, session);
    this.#places.add(tenant, 1);
    this.#sweepLater();
    return session;
  }

  #forget(session: Session): void {
    if (this.#sessions.delete(session.id)) this.#places.add(session.tenant, -1);
    session.close();
  }

  /**
   * Keeps what has happened already. A store that cannot, as on a full disk, must hold up no reader: what calls have made is made anew after
   * a restart.
   */
  #keep(write: (store: GraphStore) => void): void {
    const { store } = this.#options;
    if (!store) return;
    try {
      write(store);
    } catch (error) {
      log("error", "the store of sessions cannot be written", { error: String(error) });
    }
  }

  #adopt(session: Session, node: GraphNode): void {
    this.#owners.set(node, session);
    for (const input of node.inputs) {
      if (input.state === "failed" && input.error) return this.#fail(node, input.error);
    }
    if (node.deadline !== undefined) {
      const ms = node.deadline - this.#clock.now();
      const late = () =>
        this.#fail(node, new GraphError("timeout", `Call ${node.requestId}: its deadline passed`));
      if (ms <= 0) return late();
      const cancel = this.#clock.after(ms, late);
      this.#deadlines.set(node, cancel);
    }
    // Somebody may have been waiting for this output before it had a producer.
    for (const output of node.outputs) {
      const wanted = output.demand?.criteria;
      if (!wanted) continue;
      output.demand = undefined;
      this.demand(session, output, wanted);
    }
  }

  #applicationOf(nodes: readonly GraphNode[]): Application {
    const now = this.#clock.now();
    for (const node of nodes) {
      for (const input of node.inputs) {
        const application = input.producer?.application;
        if (application && now - application.lastActive < APPLICATION_PAUSE_MS) return application;
      }
    }
    return { order: this.#applications++, lastActive: now };
  }

  #start(session: Session, node: GraphNode): void {
    node.times.ready = this.#clock.now();
    if (node.application) node.application.lastActive = this.#clock.now();
    if (node.kind === "chain") return this.#dispatcher.enqueue(node, session.tenant);
    node.state = "running";
    node.times.started = node.times.ready;
    const abort = new AbortController();
    this.#aborts.set(node, abort);
    const { signal } = abort;
    performNode(node, this.#options, { tenant: session.tenant, signal }).then(
      (values) => this.#finish(node, values),
      (error) => this.#fail(node, asError(error)),
    );
  }

  #generated(chain: ChainNode, text: string, ids: number[] | undefined): void {
    if (chain.continued) chain.raw = { text, ids };
    const { output, transforms } = chain.generate;
    if (transforms.length === 0) return this.#finish(chain, new Map([[output, text]]));
    const abort = new AbortController();
    this.#aborts.set(chain, abort);
    const turn = { tenant: this.#owners.get(chain)?.tenant, signal: abort.signal };
    applyTransforms(transforms, text, turn).then(
      (value) => this.#finish(chain, new Map([[output, value]])),
      (error) => this.#fail(chain, error),
    );
  }

  #finish(node: GraphNode, values: Map<SemanticVariable, string>): void {
    if (!this.#leave(node, "done")) return;
    const session = this.#owners.get(node);
    for (const [variable, value] of values) {
      if (variable.state !== "pending") continue;
      try {
        session?.charge(value.length, `Variable ${variable.name}`);
        variable.set(value);
      } catch (error) {
        variable.fail(error as Error);
      }
    }
    for (const variable of node.outputs) {
      if (variable.state === "pending") {
        variable.fail(
          new GraphError("failed", `Call ${node.requestId} did not set ${variable.name}`),
        );
      }
    }
  }

  #fail(node: GraphNode, error: Error): void {
    if (!this.#leave(node, "failed")) return;
    node.error = error;
    for (const variable of node.outputs) if (variable.state === "pending") variable.fail(error);
  }

  /** Ends a node once; false when it had ended already. */
  #leave(node: GraphNode, state: "done" | "failed"): boolean {
    if (node.state === "done" || node.state === "failed") return false;
    if (state === "failed") this.#stop(node);
    node.state = state;
    node.times.finished = this.#clock.now();
    if (node.application) node.application.lastActive = node.times.finished;
    this.#aborts.delete(node);
    this.#deadlines.get(node)?.();
    this.#deadlines.delete(node);
    return true;
  }

  /** Stops whatever a node is doing. */
  #stop(node: GraphNode): void {
    if (node.kind === "chain") this.#dispatcher.cancel(node);
    this.#aborts.get(node)?.abort(new GraphError("cancelled", "The call was cancelled"));
    this.#aborts.delete(node);
    this.#deadlines.get(node)?.();
    this.#deadlines.delete(node);
  }

  /** A variable got its value or its error: what reads it may start, or fails too. Never recursive: chains are long. */
  #settled(session: Session, variable: SemanticVariable): void {
    session.lastAccess = this.#clock.now();
    // What clients set is kept before; literals stand in their calls.
    if (!session.closed && (variable.producer || variable.error)) {
      const raw = variable.producer?.kind === "chain" ? variable.producer.raw : undefined;
      this.#keep((store) => store.settle(session.id, variable, raw));
    }
    this.#settledQueue.push({ session, variable });
    if (this.#propagating) return;
    this.#propagating = true;
    try {
      for (let next = this.#settledQueue.pop(); next; next = this.#settledQueue.pop()) {
        for (const consumer of next.variable.consumers) this.#inputSettled(next, consumer);
      }
    } finally {
      this.#propagating = false;
    }
  }

  #inputSettled(
    { session, variable }: { session: Session; variable: SemanticVariable },
    consumer: GraphNode,
  ): void {
    if (variable.error) return this.#fail(consumer, variable.error);
    consumer.missing--;
    if (consumer.missing > 0 || !consumer.active || session.closed) return;
    if (consumer.state === "waiting" || consumer.state === "idle") this.#start(session, consumer);
  }

  #expired(session: Session): boolean {
    return this.#clock.now() - session.lastAccess > session.lifeSpanMs && !session.busy;
  }

  #sweep(): void {
    let ended = 0;
    for (const [id, session] of this.#sessions) {
      if (!this.#expired(session)) continue;
      if (ended++ === SWEEP_SESSIONS) return this.#sweepLater(SWEEP_PAUSE_MS);
      this.closeSession(id, `Session (session_id=${id}) expired`);
    }
  }

  /** Looks for expired sessions from time to time while there are any. */
  #sweepLater(ms = SWEEP_MS): void {
    if (this.#closed || this.#cancelSweep || this.#sessions.size === 0) return;
    this.#cancelSweep = this.#clock.after(ms, () => {
      this.#cancelSweep = undefined;
      this.#sweep();
      this.#sweepLater();
    });
  }
}
