import { GraphError, type GraphErrorCode } from "../graph/graph_error.ts";
import { ApiError } from "./api_error.ts";
import { cut } from "../common/cut.ts";
import { fromEngineError } from "./error_map.ts";
import { log } from "../common/log.ts";

/** Characters of an error that are sent. */
const mostWords = 4096;

/** Statuses of the graph's errors. Parrot's client takes any but 200 for a failure. */
const statuses: Record<GraphErrorCode, number> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  limit: 429,
  failed: 500,
  unavailable: 503,
  cancelled: 503,
  timeout: 504,
};

/** Body of every error on Parrot's routes: its client reads both keys of any answer that is not 200. */
export interface ParrotErrorBody {
  error: string;
  /** Always empty: the server's insides are for its log. */
  traceback: string;
}

/** Any error, as Parrot's client gets it. */
export function parrotError(error: unknown): { status: number; body: ParrotErrorBody } {
  if (error instanceof GraphError) {
    return answer(statuses[error.code], `GraphError(${error.code}): ${error.message}`);
  }
  // Nobody is left to read this.
  if (error instanceof DOMException && error.name === "AbortError") {
    return answer(499, error.message);
  }
  const known = fromEngineError(error);
  if (known instanceof ApiError) {
    const name = (error as Error).name;
    return answer(known.status, `${name}: ${known.message}`);
  }
  log("error", "a graph request failed", {
    error: error instanceof Error ? error.stack : String(error),
  });
  return answer(500, "InternalError: the server's log says more");
}

/** The same error in OpenAI's shape, for the routes that are not Parrot's. */
export function graphApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const { status, body } = parrotError(error);
  const type = status === 401
    ? "authentication_error"
    : status < 500
    ? "invalid_request_error"
    : "server_error";
  return new ApiError(error instanceof GraphError ? error.message : body.error, {
    status,
    type,
    code: error instanceof GraphError ? error.code : undefined,
    cause: error,
  });
}

function answer(status: number, error: string): { status: number; body: ParrotErrorBody } {
  return { status, body: { error: cut(error, mostWords), traceback: "" } };
}
