import type { GraphNode, NodeState } from "./node.ts";
import type { SemanticVariable, VariableState } from "./semantic_variable.ts";
import type { Session } from "./session.ts";

/** A node as JSON. Times are milliseconds since the node was created. */
export interface NodeDescription {
  /** The node's number. */
  id: number;
  /** What it does. */
  kind: "chain" | "native" | "transform" | "upscale";
  /** The call it came from. */
  request_id: number;
  /** How far it is. */
  state: NodeState;
  /** What its readers want. */
  criteria: string | null;
  /** The application it belongs to, by order of start. */
  application: number | null;
  /** The group of parallel producers it runs with. */
  group: number | null;
  /** Nodes before it on the longest way from a source. */
  depth: number;
  /** Ids of the variables it reads. */
  inputs: string[];
  /** Ids of the variables it sets. */
  outputs: string[];
  /** Models that may run it. */
  models?: readonly string[];
  /** The native function. */
  function?: string;
  /** Why it failed. */
  error?: string;
  /** When all inputs were set. */
  ready_ms?: number;
  /** When it was submitted. */
  started_ms?: number;
  /** When its first token came. */
  first_token_ms?: number;
  /** When it ended. */
  finished_ms?: number;
  /** Index of the engine. */
  engine?: number;
  /** Tokens of its prompt. */
  prompt_tokens?: number;
  /** Prompt tokens found in the engine's prefix cache. */
  cached_tokens?: number;
  /** Tokens it generated. */
  completion_tokens?: number;
}

/** A variable as JSON, without its value. */
export interface VariableDescription {
  /** Its id. */
  id: string;
  /** Its name. */
  name: string;
  /** Whether it has a value. */
  state: VariableState;
  /** What its readers want. */
  criteria: string | null;
  /** The node that sets it. */
  producer: number | null;
  /** Nodes that read it. */
  consumers: number[];
  /** Requests that wait for it. */
  readers: number;
  /** Length of its value so far. */
  characters: number;
  /** Why it failed. */
  error?: string;
}

/** A session's graph as JSON. */
export interface SessionDescription {
  /** The session's id. */
  session_id: number;
  /** Its variables. */
  variables: VariableDescription[];
  /** Its nodes. */
  nodes: NodeDescription[];
  /** Sums over the session. */
  totals: {
    nodes: number;
    done: number;
    failed: number;
    prompt_tokens: number;
    cached_tokens: number;
    /** Prompt tokens that had to be processed, over prompt tokens submitted. */
    prefilled_share: number | null;
    completion_tokens: number;
  };
}

/** Describes a session's graph: what there is, how far it is, and what it cost. */
export function describeSession(session: Session): SessionDescription {
  const nodes = session.nodes.map(describeNode);
  const sum = (key: "prompt_tokens" | "cached_tokens" | "completion_tokens") =>
    nodes.reduce((total, node) => total + (node[key] ?? 0), 0);
  const prompt = sum("prompt_tokens");
  const cached = sum("cached_tokens");
  return {
    session_id: session.id,
    variables: [...session.variables.values()].map(describeVariable),
    nodes,
    totals: {
      nodes: nodes.length,
      done: nodes.filter((node) => node.state === "done").length,
      failed: nodes.filter((node) => node.state === "failed").length,
      prompt_tokens: prompt,
      cached_tokens: cached,
      prefilled_share: prompt > 0 ? (prompt - cached) / prompt : null,
      completion_tokens: sum("completion_tokens"),
    },
  };
}

function describeNode(node: GraphNode): NodeDescription {
  const { created, ready, started, firstToken, finished } = node.times;
  const since = (time: number | undefined) => time === undefined ? undefined : time - created;
  const usage = node.kind === "chain" ? node.usage : undefined;
  return {
    id: node.id,
    kind: node.kind,
    request_id: node.requestId,
    state: node.state,
    criteria: node.criteria ?? null,
    application: node.application?.order ?? null,
    group: node.group?.id ?? null,
    depth: node.depth,
    inputs: node.inputs.map((input) => input.id),
    outputs: node.outputs.map((output) => output.id),
    models: node.kind === "chain" ? node.models : undefined,
    function: node.kind === "native" ? node.functionName : undefined,
    error: node.error?.message,
    ready_ms: since(ready),
    started_ms: since(started),
    first_token_ms: since(firstToken),
    finished_ms: since(finished),
    engine: usage?.engine,
    prompt_tokens: usage?.promptTokens,
    cached_tokens: usage?.cachedTokens,
    completion_tokens: usage?.completionTokens,
  };
}

function describeVariable(variable: SemanticVariable): VariableDescription {
  return {
    id: variable.id,
    name: variable.name,
    state: variable.state,
    criteria: variable.demand?.criteria ?? null,
    producer: variable.producer?.id ?? null,
    consumers: variable.consumers.map((consumer) => consumer.id),
    readers: variable.readers,
    characters: variable.partial.length,
    error: variable.error?.message,
  };
}
