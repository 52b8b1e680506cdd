import type { GraphNode } from "./node.ts";

let nextId = 1;

/** Parallel producers of one consumer: what counts is when the last of them ends. */
export class TaskGroup {
  readonly id: number = nextId++;
  #size = 0;

  /** Adds a node, once; a node that is in another group stays there. */
  add(node: GraphNode): void {
    if (node.group) return;
    node.group = this;
    this.#size++;
  }

  /** Members in all. */
  get size(): number {
    return this.#size;
  }
}
