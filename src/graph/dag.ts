import { GraphError } from "./graph_error.ts";
import type { GraphNode } from "./node.ts";

/**
 * Keeps a topological order of the nodes while edges arrive, and refuses the edge that would close a cycle
 * (Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs", 2006). An edge that agrees
 * with the order so far, which is every edge of an application that names its inputs before its outputs, costs O(1).
 */
export class Dag {
  #next = 0;

  /** Gives a new node the last place. */
  add(node: GraphNode): void {
    node.order = this.#next++;
  }

  /**
   * Notes that `to` reads what `from` sets. Variables must be wired already. Throws `GraphError` (invalid) when `from`
   * depends on `to`, and changes nothing then.
   */
  connect(from: GraphNode, to: GraphNode): void {
    if (from === to) {
      throw new GraphError("invalid", `Call ${to.requestId} reads its own output: a cycle`);
    }
    if (from.order > to.order) this.#reorder(from, to);
  }

  /** Makes `to`, and what follows from it, deeper than `from`. Only for edges that were accepted, all of them. */
  deepen(from: GraphNode, to: GraphNode): void {
    if (to.depth > from.depth) return;
    const queue = [to];
    to.depth = from.depth + 1;
    for (let node = queue.pop(); node; node = queue.pop()) {
      for (const next of successors(node)) {
        if (next.depth > node.depth) continue;
        next.depth = node.depth + 1;
        queue.push(next);
      }
    }
  }

  #reorder(from: GraphNode, to: GraphNode): void {
    const forward = reach(to, (node) => successors(node), (node) => node.order <= from.order);
    if (forward.has(from)) {
      throw new GraphError(
        "invalid",
        `Call ${to.requestId} and call ${from.requestId} depend on each other: a cycle`,
      );
    }
    const backward = reach(from, (node) => predecessors(node), (node) => node.order >= to.order);
    const byOrder = (a: GraphNode, b: GraphNode) => a.order - b.order;
    const moved = [...[...backward].sort(byOrder), ...[...forward].sort(byOrder)];
    const places = moved.map((node) => node.order).sort((a, b) => a - b);
    moved.forEach((node, i) => node.order = places[i]);
  }
}

function* successors(node: GraphNode): Iterable<GraphNode> {
  for (const output of node.outputs) yield* output.consumers;
}

function* predecessors(node: GraphNode): Iterable<GraphNode> {
  for (const input of node.inputs) if (input.producer) yield input.producer;
}

function reach(
  start: GraphNode,
  next: (node: GraphNode) => Iterable<GraphNode>,
  within: (node: GraphNode) => boolean,
): Set<GraphNode> {
  const seen = new Set([start]);
  const stack = [start];
  for (let node = stack.pop(); node; node = stack.pop()) {
    for (const other of next(node)) {
      if (seen.has(other) || !within(other)) continue;
      seen.add(other);
      stack.push(other);
    }
  }
  return seen;
}
