import type { Criteria } from "./criteria.ts";
import type { KeptError } from "./kept_error.ts";
import type { RawOutput } from "./node.ts";
import type { Operation } from "./operation.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import type { Session } from "./session.ts";

/** A variable's end, as kept. */
export interface StoredValue {
  id: string;
  value: string;
  /** Present when it failed. */
  error?: KeptError;
  /** Present when later chains of the call continue from it. */
  raw?: RawOutput;
}

/** What adds to a session, in the order it came. */
export type StoredEntry =
  | { kind: "variable"; id: string; name: string }
  | { kind: "operation"; operation: Operation; ids: string[] };

/** A session as kept. */
export interface StoredSession {
  id: number;
  secret: string;
  tenant: string;
  lifeSpanMs: number;
  entries: StoredEntry[];
  settled: StoredValue[];
  demands: { id: string; criteria: Criteria }[];
}

/**
 * Keeps what must survive the server. Every method returns once its data would survive the death of the process;
 * answers to clients are sent after that.
 */
export interface GraphStore {
  /** Everything kept, to start from. */
  load(): StoredSession[];
  openSession(session: Session): void;
  closeSession(id: number): void;
  createVariable(sessionId: number, variable: SemanticVariable): void;
  /** Keeps what a client set a variable to. */
  set(sessionId: number, variableId: string, value: string): void;
  /** Keeps what became of a variable by itself. */
  settle(sessionId: number, variable: SemanticVariable, raw: RawOutput | undefined): void;
  /** Keeps a call, its deadline as a moment: whatever time a restart takes counts. */
  submit(sessionId: number, requestId: number, operation: Operation, ids: string[]): void;
  demand(sessionId: number, variableId: string, criteria: Criteria): void;
  /** Keeps all that `writes` keeps, or, when it throws, none of it. */
  together(writes: () => void): void;
  close(): void;
}
