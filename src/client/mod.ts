/**
 * A typed client of the application graph: semantic functions, variables, sessions.
 * @module
 */
export type { Criteria } from "../graph/criteria.ts";
export type {
  NodeDescription,
  SessionDescription,
  VariableDescription,
} from "../graph/describe_session.ts";
export type { Transform } from "../graph/transform.ts";
export type { UpscaleOptions } from "../graph/node.ts";
export { type CallOptions, GraphSession, type InputValue } from "./graph_session.ts";
export { type GraphClientOptions, GraphRequestError } from "./graph_transport.ts";
export { RemoteVariable } from "./remote_variable.ts";
export {
  input,
  type InputSlot,
  output,
  type OutputOptions,
  type OutputSlot,
  type SemanticFunction,
  semanticFunction,
  type Slot,
} from "./semantic_function.ts";
