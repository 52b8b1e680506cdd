/**
 * The nodes of an application's graph. A node reads variables and sets variables; a chain is the unit in which
 * language model work is scheduled: the fills since the last output of its call, then one generation.
 * @module
 */
import type { Criteria } from "./criteria.ts";
import type { CallSampling } from "./sampling_config.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import type { TaskGroup } from "./task_group.ts";
import type { Transform } from "./transform.ts";

/** Where a node stands. `idle`: nobody needs it yet; `waiting`: for its inputs; `queued`: for an engine. */
export type NodeState = "idle" | "waiting" | "queued" | "running" | "done" | "failed";

/** When things happened to a node, in the clock's milliseconds. */
export interface NodeTimes {
  created: number;
  ready?: number;
  started?: number;
  firstToken?: number;
  finished?: number;
}

/** Nodes that are run for the same end. */
export interface Application {
  /** Smaller started earlier. */
  readonly order: number;
  /** Clock time of the last step that ended or was asked for. */
  lastActive: number;
}

interface NodeBase {
  /** Number within the session, in order of creation. */
  readonly id: number;
  /** The call it came from. */
  readonly requestId: number;
  /** Variables it reads, each once. */
  readonly inputs: SemanticVariable[];
  readonly outputs: SemanticVariable[];
  /** Place in a topological order of the session's graph. */
  order: number;
  /** Nodes before it on the longest path from a source. */
  depth: number;
  /** Inputs without a value. */
  missing: number;
  /** Whether somebody waits for something that depends on it. */
  active: boolean;
  state: NodeState;
  criteria: Criteria | undefined;
  group: TaskGroup | undefined;
  /** The piece of work that its client sees as one: what was read together, and what follows from it. */
  application: Application | undefined;
  /** Why it failed. */
  error: Error | undefined;
  /** Clock time after which it fails instead of running on. */
  deadline: number | undefined;
  readonly times: NodeTimes;
}

/** Text that is appended to the context: a constant of the template, or a variable's value. */
export type Fill =
  | { kind: "constant"; text: string; blocks?: number[] }
  | { kind: "variable"; variable: SemanticVariable };

/** The end of a chain: text is generated and, transformed, becomes the variable. */
export interface Generate {
  output: SemanticVariable;
  sampling: CallSampling;
  transforms: Transform[];
}

/** Raw output of a chain that later chains of its call continue from. */
export interface RawOutput {
  text: string;
  ids: number[] | undefined;
}

/** What a finished chain cost. */
export interface ChainUsage {
  engine: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

/** Fills, then one generation, continuing the context of the call's chain before it. */
export interface ChainNode extends NodeBase {
  readonly kind: "chain";
  readonly fills: Fill[];
  readonly generate: Generate;
  /** The chain of the same call that this one continues. */
  readonly previous: ChainNode | undefined;
  /** Whether a later chain continues this one, so that the raw output has to be kept. */
  continued: boolean;
  raw: RawOutput | undefined;
  /** Models that may run it; empty: any. */
  readonly models: readonly string[];
  usage: ChainUsage | undefined;
}

/** A function sent by the client, in the language of the client. */
export interface NativeNode extends NodeBase {
  readonly kind: "native";
  readonly functionName: string;
  /** Marshalled code object, base64. */
  readonly code: string;
  /** Arguments by name: a variable's value, or any JSON value. */
  readonly arguments: Map<string, { variable: SemanticVariable } | { value: unknown }>;
  /** Output variables by parameter name. */
  readonly results: Map<string, SemanticVariable>;
  /** What is done to its results, by parameter name. */
  readonly transforms: Map<string, Transform[]>;
  readonly timeoutMs: number;
}

/** A text function that the server knows. */
export interface TransformNode extends NodeBase {
  readonly kind: "transform";
  readonly transforms: Transform[];
}

/** How an image or a frame is enlarged. */
export interface UpscaleOptions {
  /** Width of the result in pixels. */
  width?: number;
  /** Height of the result in pixels. */
  height?: number;
  /** Enlargement, instead of width and height. */
  scale?: number;
}

/** An image variable goes in, an enlarged one comes out; both are data URLs. */
export interface UpscaleNode extends NodeBase {
  readonly kind: "upscale";
  readonly options: UpscaleOptions;
}

/** Any node. */
export type GraphNode = ChainNode | NativeNode | TransformNode | UpscaleNode;

/** The fields that every new node starts with. */
export function newNode(
  id: number,
  requestId: number,
  inputs: readonly SemanticVariable[],
  outputs: SemanticVariable[],
  created: number,
  deadline?: number,
): NodeBase {
  return {
    id,
    requestId,
    inputs: [...new Set(inputs)],
    outputs,
    order: 0,
    depth: 0,
    missing: 0,
    active: false,
    state: "idle",
    criteria: undefined,
    group: undefined,
    application: undefined,
    error: undefined,
    deadline,
    times: { created },
  };
}
