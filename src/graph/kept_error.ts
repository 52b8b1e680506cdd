import { cut } from "../common/cut.ts";
import { fromErrorWire } from "../engine/error_wire.ts";
import { GraphError, type GraphErrorCode, MOST_ERROR_CHARS } from "./graph_error.ts";

/** An error as the store keeps it. */
export interface KeptError {
  /** The class name, with a graph's error and its code: `GraphError(limit)`. Absent: kept before there were kinds. */
  kind?: string;
  message: string;
}

/** What is kept of an error, once for each variable that it reaches. */
export function keptError(error: Error): KeptError {
  const kind = error instanceof GraphError ? `GraphError(${error.code})` : error.name;
  return { kind, message: cut(error.message, MOST_ERROR_CHARS) };
}

/** The error of which that was kept: answered as it was. */
export function revivedError({ kind, message }: KeptError): Error {
  if (kind === undefined) return new GraphError("failed", message);
  const code = /^GraphError\((\w+)\)$/.exec(kind)?.[1];
  if (code !== undefined) return new GraphError(code as GraphErrorCode, message);
  return fromErrorWire({ name: kind, message });
}
