import { createRoute, z } from "@hono/zod-openapi";
import { parseCriteria } from "../graph/criteria.ts";
import { describeSession } from "../graph/describe_session.ts";
import { GraphError } from "../graph/graph_error.ts";
import type { GraphRuntime } from "../graph/graph_runtime.ts";
import type { Session } from "../graph/session.ts";
import { type AppRead, appReads } from "./app_reads.ts";
import {
  type AppBody,
  appDescriptionSchema,
  appSchema,
  appSubmittedSchema,
} from "./apps_schema.ts";
import { bearerKey } from "./auth.ts";
import { errorResponses } from "./error_responses.ts";
import type { AppRouter } from "./context.ts";
import type { ParrotAccess } from "./parrot_access.ts";
import { graphApiError } from "./parrot_errors.ts";
import { readOperation } from "./parrot_schema.ts";
import { eventStreamResponse } from "./sse.ts";

const failures = {
  ...errorResponses,
  404: { ...errorResponses[404], description: "No such session, variable or model." },
  409: { ...errorResponses[400], description: "A variable is set twice, or calls make a circle." },
};

const submitRoute = createRoute({
  method: "post",
  path: "/v1/apps",
  tags: ["Applications"],
  summary: "Submit a whole application graph",
  request: { body: { required: true, content: { "application/json": { schema: appSchema } } } },
  responses: {
    200: {
      description:
        "Accepted: outputs run as soon as what they need is there. With `reads` an event stream.",
      content: {
        "application/json": { schema: appSubmittedSchema },
        "text/event-stream": { schema: z.string() },
      },
    },
    ...failures,
  },
});

const describeRoute = createRoute({
  method: "get",
  path: "/v1/apps/{session}",
  tags: ["Applications"],
  summary: "A session's graph: states, criteria, timings, prefix hits",
  request: {
    params: z.object({ session: z.string() }),
    query: z.object({ session_auth: z.string().optional() }),
  },
  responses: {
    200: {
      description: "Variables and nodes; times in milliseconds since each node was created.",
      content: { "application/json": { schema: appDescriptionSchema } },
    },
    ...failures,
  },
});

/** What these routes need. */
export interface AppsRoutesOptions {
  graph: GraphRuntime;
  access: ParrotAccess;
  /** Milliseconds between comments on a silent stream. */
  pingMs: number;
}

/** `POST /v1/apps` and `GET /v1/apps/{session}`. Errors have OpenAI's shape. */
export function appsRoutes(router: AppRouter, options: AppsRoutesOptions): void {
  const { graph, access, pingMs } = options;
  // Before the body is read: a large one takes a while to look at.
  router.post("/v1/apps", async (c, next) => {
    try {
      access.checkBearer(bearerKey(c.req.header("Authorization")));
    } catch (error) {
      throw graphApiError(error);
    }
    await next();
  });
  router.openapi(submitRoute, (c) => {
    const body = c.req.valid("json");
    const bearer = bearerKey(c.req.header("Authorization"));
    let opened: Session | undefined;
    try {
      const session = body.session_id === undefined
        ? opened = access.open(bearer, body.api_key)
        : access.session({
          sessionId: body.session_id,
          sessionAuth: body.session_auth,
          bearer,
        });
      const { reads, ...submitted } = submitApp(graph, session, body);
      const answer = { session_id: session.id, session_auth: session.secret, ...submitted };
      if (reads.length === 0) return c.json(answer, 200);
      const leave = new AbortController();
      return eventStreamResponse(appReads(answer, reads, leave.signal), {
        pingMs,
        onLeave: () => leave.abort(new DOMException("The client left", "AbortError")),
      });
    } catch (error) {
      if (opened) graph.closeSession(opened.id);
      throw graphApiError(error);
    }
  });
  router.openapi(describeRoute, (c) => {
    try {
      const session = access.session({
        sessionId: c.req.param("session"),
        sessionAuth: c.req.query("session_auth"),
        bearer: bearerKey(c.req.header("Authorization")),
      });
      return c.json(describeSession(session), 200);
    } catch (error) {
      throw graphApiError(error);
    }
  });
}

/** Adds a whole graph, or nothing of it; calls may name each other's outputs in any order. */
function submitApp(
  graph: GraphRuntime,
  session: Session,
  body: AppBody,
): { request_ids: number[]; variables: Record<string, string>; reads: AppRead[] } {
  const criteria = Object.entries(body.outputs).map(([ref, text]) =>
    [ref, parseCriteria(text)] as const
  );
  const readCriteria = body.reads.map(({ criteria, stream }) =>
    parseCriteria(criteria ?? (stream ? "TTFT" : "latency"))
  );
  session.checkRoom(body.variables.length, body.calls.length);
  checkRefs(body);
  const variables = new Map<string, string>();
  const idOf = (ref: string): string => {
    const known = variables.get(ref);
    if (known !== undefined) return known;
    const id = graph.createVariable(session, ref).id;
    variables.set(ref, id);
    return id;
  };
  const requestIds = graph.atomically(session, () => {
    for (const { ref, name, content } of body.variables) {
      variables.set(ref, graph.createVariable(session, name ?? ref, content).id);
    }
    return body.calls.map((call, i) =>
      named(call, i, () => graph.submit(session, readOperation(withIds(call, idOf))).requestId)
    );
  });
  const variableOf = (ref: string) => session.variable(variables.get(ref)!);
  const reads = body.reads.map(({ ref, stream }, i): AppRead => ({
    ref,
    variable: variableOf(ref),
    criteria: readCriteria[i],
    stream,
  }));
  for (const [ref, wanted] of criteria) graph.demand(session, variableOf(ref), wanted);
  for (const { variable, criteria } of reads) graph.demand(session, variable, criteria);
  return { request_ids: requestIds, variables: Object.fromEntries(variables), reads };
}

/** Does `work` for a call; a refusal says which one it is about. */
function named<T>(call: Record<string, unknown>, index: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof GraphError) || error.code === "unavailable") throw error;
    const what = call.template ?? call.func_name ?? call.kind;
    const short = typeof what === "string" ? ` (${JSON.stringify(what.slice(0, 40))})` : "";
    throw new GraphError(error.code, `calls.${index}${short}: ${error.message}`);
  }
}

/** Throws `GraphError` where a `ref` is set twice, or names neither a variable nor an output of a call. */
function checkRefs({ variables, calls, outputs, reads }: AppBody): void {
  const made = new Set<string>();
  for (const { ref } of variables) {
    if (made.has(ref)) throw new GraphError("conflict", `variables: ref ${ref} is set twice`);
    made.add(ref);
  }
  const parameters = calls.flatMap((call) => Array.isArray(call.parameters) ? call.parameters : []);
  for (const parameter of parameters) if (parameter?.is_output) made.add(parameter.ref);
  for (const parameter of parameters) {
    if (typeof parameter?.ref === "string" && !made.has(parameter.ref)) {
      throw new GraphError(
        "invalid",
        `ref ${parameter.ref}: no variable and no output of a call has it`,
      );
    }
  }
  const named = [
    ...Object.keys(outputs).map((ref) => ["outputs", ref]),
    ...reads.map(({ ref }) => ["reads", ref]),
  ];
  for (const [field, ref] of named) {
    if (!made.has(ref)) throw new GraphError("not_found", `${field}: no variable has ref ${ref}`);
  }
}

/** The call with every parameter's `ref` replaced by a variable's id. */
function withIds(
  call: Record<string, unknown>,
  idOf: (ref: string) => string,
): Record<string, unknown> {
  if (!Array.isArray(call.parameters)) return call;
  const parameters = call.parameters.map((parameter: unknown) => {
    if (typeof parameter !== "object" || parameter === null || !("ref" in parameter)) {
      return parameter;
    }
    const { ref, ...rest } = parameter;
    if (typeof ref !== "string") throw new GraphError("invalid", "ref: expected a string");
    return { ...rest, var_id: idOf(ref) };
  });
  return { ...call, parameters };
}
