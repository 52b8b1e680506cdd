import { GraphError } from "./graph_error.ts";
import type { GraphNode } from "./node.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import { TaskGroup } from "./task_group.ts";

/**
 * What the reader of a variable cares about. `latency`: the time until the value is whole. `TTFT`: the time to its
 * first token. `TPOT`: the time between its tokens. `throughput`: only that much gets done.
 */
export type Criteria = "latency" | "throughput" | "TTFT" | "TPOT";

/** What has been asked of a variable so far. */
export interface CriteriaDemand {
  criteria: Criteria;
}

/** Smaller is stricter. A stricter demand replaces a laxer one, never the other way round. */
export const criteriaRank: Record<Criteria, number> = {
  latency: 0,
  TTFT: 1,
  TPOT: 2,
  throughput: 3,
};

/** Reads a criteria name from the wire. Throws `GraphError` (invalid) for any other. */
export function parseCriteria(text: unknown): Criteria {
  if (typeof text === "string" && Object.hasOwn(criteriaRank, text)) return text as Criteria;
  throw new GraphError(
    "invalid",
    `criteria: got ${JSON.stringify(text) ?? "nothing"}, expected one of ${
      Object.keys(criteriaRank).join(", ")
    }`,
  );
}

/**
 * Marks everything that `variable` still depends on with what its reader wants, and gathers the parallel producers
 * of one consumer into task groups (paper §5.2: producers of a latency-critical output are latency-critical, but a
 * stage of several is judged by when the last of them ends, so it runs as one batch).
 * Returns the nodes that became active, and those whose criteria have become stricter since. Each node is visited once per
 * stricter demand, so a graph costs its size however often it is read.
 */
export function deduceCriteria(
  variable: SemanticVariable,
  criteria: Criteria,
): { activated: GraphNode[]; raised: GraphNode[] } {
  const activated: GraphNode[] = [];
  const raised: GraphNode[] = [];
  const stack: { variable: SemanticVariable; criteria: Criteria }[] = [{ variable, criteria }];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { variable: at, criteria: wanted } = top;
    if (at.state !== "pending") continue;
    if (at.demand && criteriaRank[at.demand.criteria] <= criteriaRank[wanted]) continue;
    at.demand = { criteria: wanted };
    const node = at.producer;
    if (!node) continue;
    if (node.criteria === undefined || criteriaRank[wanted] < criteriaRank[node.criteria]) {
      node.criteria = wanted;
      if (node.active) raised.push(node);
    }
    if (!node.active) {
      node.active = true;
      activated.push(node);
      formGroup(node);
    }
    // First token and token rate are properties of the output itself: what feeds it has to be whole first.
    const upstream = wanted === "throughput" ? "throughput" : "latency";
    for (const input of node.inputs) {
      if (input.state === "pending") stack.push({ variable: input, criteria: upstream });
    }
  }
  return { activated, raised };
}

/**
 * Puts the unfinished chains that feed `consumer`, seen through native functions and transforms, into groups: one for
 * each stage, since those of different depth run one after the other.
 */
function formGroup(consumer: GraphNode): void {
  if (consumer.kind !== "chain" || consumer.inputs.length < 2) return;
  // Each once: the ways through functions that read two outputs of the one before double with every function.
  const seen = new Set<GraphNode>();
  const stack = [...consumer.inputs];
  for (let input = stack.pop(); input; input = stack.pop()) {
    const producer = input.producer;
    if (input.state !== "pending" || !producer || seen.has(producer)) continue;
    seen.add(producer);
    if (producer.kind !== "chain") stack.push(...producer.inputs);
  }
  const chains = [...seen].filter((producer) => producer.kind === "chain");
  for (const stage of Map.groupBy(chains, (producer) => producer.depth).values()) {
    if (stage.length < 2) continue;
    const group = stage.find((producer) => producer.group)?.group ?? new TaskGroup();
    for (const producer of stage) group.add(producer);
  }
}
