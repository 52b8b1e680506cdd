import { GraphError } from "../graph/graph_error.ts";
import type { GraphRuntime } from "../graph/graph_runtime.ts";
import type { Session } from "../graph/session.ts";
import type { Authenticator } from "./auth.ts";

/** What a request says about who sends it. */
export interface Credentials {
  sessionId: unknown;
  sessionAuth: unknown;
  /** Key of an `Authorization` header. */
  bearer: string | undefined;
}

/** Decides who may open and use sessions. */
export class ParrotAccess {
  readonly #graph: GraphRuntime;
  readonly #auth: Authenticator;

  constructor(graph: GraphRuntime, auth: Authenticator) {
    this.#graph = graph;
    this.#auth = auth;
  }

  /** Opens a session for whoever holds `bearer`, or else `apiKey`. Throws `GraphError` (unauthorized). */
  open(bearer: string | undefined, apiKey: unknown): Session {
    const key = bearer ?? (typeof apiKey === "string" ? apiKey : undefined);
    const identity = this.#auth.identify(key);
    if (identity) return this.#graph.openSession(identity.tenant);
    throw noKey();
  }

  /** Throws `GraphError` (unauthorized) for the key of a header that is nobody's. Without one, what the body says decides. */
  checkBearer(bearer: string | undefined): void {
    if (bearer !== undefined && !this.#auth.identify(bearer)) throw noKey();
  }

  /**
   * The session that a request is about. A secret that is sent must be right. Where the server asks for keys, a
   * request without a secret needs the key that opened the session, or with `open` none: Parrot's client sends
   * neither with calls, so there the session's id, which cannot be guessed, stands for them.
   */
  session(credentials: Credentials, open = false): Session {
    const session = this.#graph.session(sessionNumber(credentials.sessionId));
    if (credentials.sessionAuth !== undefined && credentials.sessionAuth !== null) {
      session.authorize(credentials.sessionAuth);
      return session;
    }
    if (!this.#auth.required || (open && credentials.bearer === undefined)) return session;
    const identity = this.#auth.identify(credentials.bearer);
    if (identity && identity.tenant === session.tenant) return session;
    throw new GraphError("unauthorized", `Session ${session.id}: session_auth is required`);
  }
}

function noKey(): GraphError {
  return new GraphError(
    "unauthorized",
    "a valid API key is required: send it as api_key, or as `Authorization: Bearer KEY`",
  );
}

function sessionNumber(value: unknown): number {
  const id = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof id === "number" && Number.isSafeInteger(id)) return id;
  const met = JSON.stringify(value)?.slice(0, 80) ?? "nothing";
  throw new GraphError("invalid", `session_id: got ${met}, expected an integer of 53 bits`);
}
