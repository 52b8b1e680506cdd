import { GraphError } from "../graph/graph_error.ts";
import type { GraphRuntime } from "../graph/graph_runtime.ts";
import type { Submitted } from "../graph/operation.ts";
import type { ParrotAccess } from "./parrot_access.ts";
import { parrotError } from "./parrot_errors.ts";
import { readNativeCall, readSemanticCall } from "./parrot_schema.ts";

/** A request to Parrot's routes, whichever listener it came through. */
export interface WireRequest {
  method: string;
  path: string;
  /** Fields of the JSON body, or, where a body cannot travel, of the query. */
  fields: () => Record<string, unknown>;
  bearer: string | undefined;
  /** Aborted when the client leaves. */
  signal: AbortSignal;
}

/** The answer: always JSON. */
export interface WireAnswer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

type Handler = (request: WireRequest, parameter: string) => unknown | Promise<unknown>;

/**
 * Parrot's HTTP API (its `main` branch, `/v1`), as its own Python client speaks it. Answers are 200 or an error with
 * `error` and `traceback`; nothing hangs: a variable that cannot come answers its readers with the reason.
 */
export class ParrotWire {
  readonly #graph: GraphRuntime;
  readonly #access: ParrotAccess;
  readonly #routes: { path: RegExp; methods: Record<string, Handler> }[];

  constructor(graph: GraphRuntime, access: ParrotAccess) {
    this.#graph = graph;
    this.#access = access;
    this.#routes = [
      { path: /^\/v1\/session$/, methods: { POST: (r) => this.#openSession(r) } },
      {
        path: /^\/v1\/session\/([^/]+)$/,
        methods: {
          GET: (r, id) => this.#describeSession(r, id),
          DELETE: (r, id) => this.#closeSession(r, id),
        },
      },
      { path: /^\/v1\/semantic_call$/, methods: { POST: (r) => this.#call(r, readSemanticCall) } },
      {
        // The second name is what the reference's asynchronous client calls.
        path: /^\/v1\/(?:submit_)?py_native_call$/,
        methods: { POST: (r) => this.#call(r, readNativeCall) },
      },
      {
        path: /^\/v1\/semantic_var$/,
        methods: { POST: (r) => this.#createVariable(r), GET: (r) => this.#listVariables(r) },
      },
      {
        path: /^\/v1\/semantic_var\/([^/]+)$/,
        methods: {
          POST: (r, id) => this.#setVariable(r, id),
          GET: (r, id) => this.#readVariable(r, id),
          DELETE: (r, id) => this.#cancelVariable(r, id),
        },
      },
    ];
  }

  /** Answers a request; undefined when the path is not one of Parrot's. */
  async answer({ fields, ...rest }: WireRequest): Promise<WireAnswer | undefined> {
    // Read by the check of the session and by the handler: a body may be large.
    let read: Record<string, unknown> | undefined;
    const request: WireRequest = { ...rest, fields: () => read ??= fields() };
    for (const { path, methods } of this.#routes) {
      const match = path.exec(request.path);
      if (!match) continue;
      const handler = methods[request.method];
      if (!handler) {
        const error = `${request.method} ${request.path}: expected ${Object.keys(methods)}`;
        const headers = { Allow: Object.keys(methods).join(", ") };
        return { status: 405, body: { error, traceback: "" }, headers };
      }
      try {
        const parameter = decoded(match[1] ?? "");
        return { status: 200, body: await handler(request, parameter) };
      } catch (error) {
        return parrotError(error);
      }
    }
    return undefined;
  }

  #openSession(request: WireRequest): unknown {
    const session = this.#access.open(request.bearer, request.fields().api_key);
    return { session_id: session.id, session_auth: session.secret };
  }

  #describeSession(request: WireRequest, id: string): unknown {
    const session = this.#session(request, id);
    return {
      session_id: session.id,
      variables: session.variables.size,
      calls: session.calls,
      life_span_seconds: session.lifeSpanMs / 1000,
    };
  }

  #closeSession(request: WireRequest, id: string): unknown {
    this.#graph.closeSession(this.#session(request, id).id);
    return {};
  }

  #call(
    request: WireRequest,
    read: typeof readSemanticCall | typeof readNativeCall,
  ): unknown {
    const session = this.#session(request, undefined, true);
    const submitted: Submitted = this.#graph.submit(session, read(request.fields()));
    return { request_id: submitted.requestId, param_info: submitted.parameters };
  }

  #createVariable(request: WireRequest): unknown {
    const session = this.#session(request);
    const { var_name: name, content } = request.fields();
    if (typeof name !== "string") throw wrong("var_name", name, "a string");
    if (content !== undefined && typeof content !== "string") {
      throw wrong("content", content, "a string");
    }
    return { var_id: this.#graph.createVariable(session, name, content).id };
  }

  #listVariables(request: WireRequest): unknown {
    const variables = [...this.#session(request).variables.values()];
    return {
      variables: variables.map(({ id, name, state }) => ({ var_id: id, var_name: name, state })),
    };
  }

  #setVariable(request: WireRequest, id: string): unknown {
    const session = this.#session(request);
    const { content } = request.fields();
    if (typeof content !== "string") throw wrong("content", content, "a string");
    this.#graph.setVariable(session, id, content);
    return {};
  }

  async #readVariable(request: WireRequest, id: string): Promise<unknown> {
    const session = this.#session(request);
    const { criteria } = request.fields();
    return { content: await this.#graph.read(session, id, criteria, request.signal) };
  }

  #cancelVariable(request: WireRequest, id: string): unknown {
    this.#graph.cancelVariable(this.#session(request), id);
    return {};
  }

  #session(request: WireRequest, id?: string, open = false) {
    const fields = request.fields();
    return this.#access.session({
      sessionId: id ?? fields.session_id,
      sessionAuth: fields.session_auth,
      bearer: request.bearer,
    }, open);
  }
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    throw new GraphError("invalid", `path: got ${id}, expected percent-encoded UTF-8`);
  }
}

/** The fields of a JSON body. Throws `GraphError` (invalid) unless it is an object. */
export function jsonFields(body: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw new GraphError("invalid", `body: ${(error as Error).message}, expected JSON`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new GraphError("invalid", `body: got ${body.slice(0, 80)}, expected a JSON object`);
}

function wrong(field: string, value: unknown, expected: string): GraphError {
  const met = JSON.stringify(value)?.slice(0, 80) ?? "nothing";
  return new GraphError("invalid", `${field}: got ${met}, expected ${expected}`);
}
