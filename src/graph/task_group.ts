import type { GraphNode } from "./node.ts";

let nextId = 1;

/** Parallel producers of one consumer: what counts is when the last of them ends. */
export class TaskGroup {
  readonly id: number = nextId++;
  /** Members that have not ended. */
  #members = new Set<GraphNode>();
  #size = 0;

  /** Adds a node, once; a node that is in another group stays there. */
  add(node: GraphNode): void {
    if (node.group) return;
    node.group = this;
    this.#members.add(node);
    this.#size++;
  }

  /** Notes that a member ended, whichever way. */
  done(node: GraphNode): void {
    this.#members.delete(node);
  }

  /** Members in all. */
  get size(): number {
    return this.#size;
  }

  /** Members that have not ended. */
  get remaining(): number {
    return this.#members.size;
  }
}
