import { buildOperation } from "./graph_builder.ts";
import type { StoredSession } from "./graph_store.ts";
import { revivedError } from "./kept_error.ts";
import type { GraphNode } from "./node.ts";
import type { Session } from "./session.ts";

/**
 * Fills an empty session with what the store kept of it: variables under their old ids, the calls in their old
 * order, then values. Returns the nodes that had not ended, among them those that had set some of their outputs.
 */
export function rebuildSession(session: Session, stored: StoredSession, now: number): GraphNode[] {
  for (const entry of stored.entries) {
    if (entry.kind === "variable") {
      session.addVariable(entry.id, entry.name);
      continue;
    }
    const ids = [...entry.ids];
    buildOperation(session, entry.operation, {
      now,
      newVariableId: () => ids.shift() ?? crypto.randomUUID(),
    });
  }
  for (const { id, value, error, raw } of stored.settled) {
    const variable = session.variables.get(id);
    if (variable?.state !== "pending") continue;
    if (variable.producer?.kind === "chain") variable.producer.raw = raw;
    session.recharge(value.length);
    if (error === undefined) variable.set(value);
    else variable.fail(revivedError(error));
  }
  for (const node of session.nodes) {
    const ended = node.outputs.every((output) => output.state !== "pending");
    if (ended && node.state === "idle") {
      node.state = node.outputs.some((output) => output.error) ? "failed" : "done";
    }
  }
  return session.nodes.filter((node) => node.state === "idle");
}
