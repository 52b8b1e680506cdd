/**
 * What a client asks the graph to do, checked and plain: the same for every wire, and what the store keeps.
 * @module
 */
import type { UpscaleOptions } from "./node.ts";
import type { Transform } from "./transform.ts";

/** A parameter of a call. */
export interface CallParameter {
  name: string;
  isOutput: boolean;
  /** Existing variable: read by an input, set by an output. */
  variableId?: string;
  /** Literal of an input. */
  value?: unknown;
  /** Of an output: Parrot's `sampling_config`, unread. */
  sampling?: Record<string, unknown> | null;
  /** Of an output: applied before it is set. Of an input: applied to a copy of it. */
  transforms?: Transform[];
}

/** A call of a semantic function. */
export interface SemanticCall {
  kind: "call";
  functionName?: string;
  template: string;
  parameters: CallParameter[];
  models: string[];
  /** Drop the text after the last output (default); a call must have an output then. */
  removePureFill: boolean;
  outputCriteria?: string | null;
  /** Milliseconds from submission after which outputs that are not there fail; of a call that was kept, from its coming back. */
  deadlineMs?: number;
  /** Seed of outputs whose configuration names none. */
  seed: number;
}

/** A call of a function sent by the client. */
export interface NativeCall {
  kind: "native";
  functionName: string;
  code: string;
  parameters: CallParameter[];
  timeoutMs: number;
  outputCriteria?: string | null;
  deadlineMs?: number;
}

/** A transform from one variable to another. */
export interface TransformCall {
  kind: "transform";
  parameters: CallParameter[];
  transforms: Transform[];
  outputCriteria?: string | null;
  deadlineMs?: number;
}

/** An image variable enlarged into another. */
export interface UpscaleCall {
  kind: "upscale";
  parameters: CallParameter[];
  options: UpscaleOptions;
  outputCriteria?: string | null;
  deadlineMs?: number;
}

/** Anything that adds nodes to a graph. */
export type Operation = SemanticCall | NativeCall | TransformCall | UpscaleCall;

/** Where one placeholder of a call went. */
export interface ParameterInfo {
  parameter_name: string;
  is_output: boolean;
  var_name: string;
  var_id: string;
}

/** The answer to an operation. */
export interface Submitted {
  requestId: number;
  parameters: ParameterInfo[];
}
