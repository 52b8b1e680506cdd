import { cut } from "../common/cut.ts";
import { Dag } from "./dag.ts";
import type { FairShare } from "./fair_share.ts";
import { GraphError } from "./graph_error.ts";
import { equalSecret } from "./ids.ts";
import type { GraphNode } from "./node.ts";
import { SemanticVariable } from "./semantic_variable.ts";

/** Bounds of one session; what would exceed them is refused. */
export interface SessionLimits {
  variables: number;
  calls: number;
  /** Characters of one value or template. */
  valueChars: number;
  /** Characters of all values together. */
  totalChars: number;
}

/** Defaults: a session may grow to some 300 MB at worst. */
export const defaultSessionLimits: SessionLimits = {
  variables: 100_000,
  calls: 50_000,
  valueChars: 32 * 1024 * 1024,
  totalChars: 128 * 1024 * 1024,
};

/**
 * What a variable counts for among all sessions, in characters, beside its value: about its bytes, and those of the call that sets it. More
 * where its name has more.
 */
export const VARIABLE_CHARS = 512;

/** Characters of a name that an error shows. */
const MOST_NAME = 200;

/** What a session is opened with. */
export interface SessionOptions {
  id: number;
  secret: string;
  /** Whose key opened it: work of one tenant shares prefixes and a place in the queue. */
  tenant: string;
  /** Milliseconds without a call or a waiting reader after which it ends. */
  lifeSpanMs: number;
  limits: SessionLimits;
  now: number;
  settled: (session: Session, variable: SemanticVariable) => void;
}

/** One application's (or client's) variables and nodes. */
export class Session {
  readonly id: number;
  readonly secret: string;
  readonly tenant: string;
  readonly lifeSpanMs: number;
  readonly variables = new Map<string, SemanticVariable>();
  readonly nodes: GraphNode[] = [];
  readonly dag = new Dag();
  readonly limits: SessionLimits;
  lastAccess: number;
  calls = 0;
  readonly #settled: (variable: SemanticVariable) => void;
  #chars = 0;
  /** What it counts for among all sessions. */
  #held = 0;
  #share: FairShare | undefined;
  #closed = false;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.secret = options.secret;
    this.tenant = options.tenant;
    this.lifeSpanMs = options.lifeSpanMs;
    this.limits = options.limits;
    this.lastAccess = options.now;
    this.#settled = (variable) => options.settled(this, variable);
  }

  /** Whether it has ended. */
  get closed(): boolean {
    return this.#closed;
  }

  /** From now on what it holds, and already does, counts in `share`, which may refuse more. */
  join(share: FairShare): void {
    this.#share = share;
    share.add(this.tenant, this.#held);
  }

  /** It counts no more. */
  close(): void {
    this.#closed = true;
    this.#share?.add(this.tenant, -this.#held);
    this.#share = undefined;
  }

  /** Throws `GraphError` (unauthorized) unless `secret` is the session's. */
  authorize(secret: unknown): void {
    if (typeof secret === "string" && equalSecret(this.secret, secret)) return;
    throw new GraphError("unauthorized", `session_auth does not match session ${this.id}`);
  }

  /** Throws `GraphError` (limit) unless so many more variables and calls have room. */
  checkRoom(variables: number, calls: number): void {
    const { limits } = this;
    for (
      const [what, held, more, most] of [
        ["variables", this.variables.size, variables, limits.variables],
        ["calls", this.calls, calls, limits.calls],
      ] as const
    ) {
      if (held + more <= most) continue;
      throw new GraphError(
        "limit",
        `Session ${this.id} would hold ${held + more} ${what}, expected at most ${most}`,
      );
    }
  }

  /** Adds a variable. Throws `GraphError` (limit) when there are too many, or all sessions hold too much. */
  addVariable(id: string, name: string): SemanticVariable {
    this.checkRoom(1, 0);
    const chars = Math.max(VARIABLE_CHARS, name.length);
    this.#share?.check(this.tenant, chars, `Variable ${cut(name, MOST_NAME)}`);
    const variable = new SemanticVariable(id, name, this.#settled);
    this.variables.set(id, variable);
    this.#hold(chars);
    return variable;
  }

  /** The variable of that id. Throws `GraphError` (not_found). */
  variable(id: string): SemanticVariable {
    const variable = this.variables.get(id);
    if (variable) return variable;
    throw new GraphError("not_found", `Unknown Semantic Variable ID: ${id}`);
  }

  /** Counts text that the session keeps. Throws `GraphError` (limit), counting nothing, when it is too much. */
  charge(chars: number, what: string): void {
    const { valueChars, totalChars } = this.limits;
    if (chars > valueChars) {
      throw new GraphError("limit", `${what}: ${chars} characters, expected at most ${valueChars}`);
    }
    if (this.#chars + chars > totalChars) {
      throw new GraphError(
        "limit",
        `${what}: session ${this.id} would hold over ${totalChars} characters`,
      );
    }
    this.#share?.check(this.tenant, chars, what);
    this.recharge(chars);
  }

  /** Counts text that it has held before, whatever its limits are now. */
  recharge(chars: number): void {
    this.#chars += chars;
    this.#hold(chars);
  }

  /** Does `work`; what it has charged, variables included, is taken back when it throws. */
  charging<T>(work: () => T): T {
    const chars = this.#chars, held = this.#held;
    try {
      return work();
    } catch (error) {
      this.#chars = chars;
      this.#hold(held - this.#held);
      throw error;
    }
  }

  #hold(chars: number): void {
    this.#held += chars;
    this.#share?.add(this.tenant, chars);
  }

  /**
   * Whether something waits for it or runs in it, so that it must not expire. What waits for an input does not run: others that do set it,
   * or a client that may have left for good.
   */
  get busy(): boolean {
    for (const node of this.nodes) {
      const ended = node.state === "done" || node.state === "failed";
      if (node.active && node.missing === 0 && !ended) return true;
    }
    for (const variable of this.variables.values()) if (variable.readers > 0) return true;
    return false;
  }
}
