import type { EnginePool } from "../engine/types.ts";
import type { Clock } from "./clock.ts";
import type { DispatcherOptions } from "./dispatcher.ts";
import type { GraphStore } from "./graph_store.ts";
import type { NodeWorkers } from "./perform_node.ts";
import type { SessionLimits } from "./session.ts";

/** What a runtime is made of. */
export interface GraphRuntimeOptions extends NodeWorkers {
  pool: EnginePool;
  clock?: Clock;
  /** Keeps sessions across restarts; absent: they live in memory. */
  store?: GraphStore;
  planner?: DispatcherOptions;
  limits?: Partial<SessionLimits>;
  /** Sessions open at a time. Default 10,000. */
  maxSessions?: number;
  /** Characters that all sessions hold together. Default 512 Mi: 1 GiB at worst. */
  maxChars?: number;
  /** Tenants that may come; each of several gets its share of sessions and characters (`FairShare`). Default 1. */
  tenants?: number;
  /** Milliseconds of silence after which a session ends. Default 600,000 (Parrot's). */
  sessionLifeSpanMs?: number;
}
