import { cut } from "../common/cut.ts";

/** What kind of failure it is, for whoever has to answer a client. */
export type GraphErrorCode =
  /** Malformed template, parameter, criteria or transform. */
  | "invalid"
  /** No such session or variable (never was, deleted or expired). */
  | "not_found"
  /** The session's secret is missing or wrong. */
  | "unauthorized"
  /** A variable that is set, or has a producer, would get another value. */
  | "conflict"
  /** A limit of the session or the server is reached. */
  | "limit"
  /** No engine serves what is asked. */
  | "unavailable"
  /** A deadline passed. */
  | "timeout"
  /** Cancelled with its session, or by its owner. */
  | "cancelled"
  /** The work itself failed: engine, native function or transform. */
  | "failed"
  /** The server was told not to do this. */
  | "forbidden";

/** What those are told whose work a server leaves that stops: with a store, the one that is started after it goes on. */
export const shuttingDown = "The server is shutting down";

/** Characters of an error that are held: what failed may name it, a client's function its exception, by megabytes that no limit counts. */
export const MOST_ERROR_CHARS = 4096;

/** A failure of the graph, or of a variable in it. Of its message the first `MOST_ERROR_CHARS` characters are kept. */
export class GraphError extends Error {
  override readonly name = "GraphError";
  readonly code: GraphErrorCode;
  constructor(code: GraphErrorCode, message: string, options?: ErrorOptions) {
    super(cut(message, MOST_ERROR_CHARS), options);
    this.code = code;
  }
}
