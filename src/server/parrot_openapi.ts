import { z } from "@hono/zod-openapi";
import type { AppRouter } from "./context.ts";
import { nativeCallSchema, semanticCallSchema } from "./parrot_schema.ts";

const sessionFields = {
  session_id: z.number().int(),
  session_auth: z.string().optional(),
};
const sessionQuery = z.object({ session_id: z.string(), session_auth: z.string().optional() });
const parameterInfo = z.object({
  parameter_name: z.string(),
  is_output: z.boolean(),
  var_name: z.string(),
  var_id: z.string(),
});
const submitted = z.object({ request_id: z.number(), param_info: z.array(parameterInfo) });
const failure = z.object({ error: z.string(), traceback: z.string() }).openapi("ParrotError");
const idParameter = z.object({ id: z.string() });
const criteria = z.enum(["latency", "throughput", "TTFT", "TPOT"]);

interface Entry {
  method: "get" | "post" | "delete" | "put";
  path: string;
  summary: string;
  body?: z.ZodType;
  query?: z.ZodObject;
  /** Of JSON; by default an empty object. */
  answer?: z.ZodType;
  /** Media type of an answer that is no JSON. */
  media?: string;
}

const entries: Entry[] = [
  {
    method: "post",
    path: "/v1/session",
    summary: "Open a session of semantic variables",
    body: z.object({ api_key: z.string().optional() }),
    answer: z.object({ session_id: z.number(), session_auth: z.string() }),
  },
  {
    method: "get",
    path: "/v1/session/{id}",
    summary: "Counts of a session, and how long it lives without a request",
    query: z.object({ session_auth: z.string().optional() }),
    answer: z.object({
      session_id: z.number(),
      variables: z.number(),
      calls: z.number(),
      life_span_seconds: z.number(),
    }),
  },
  {
    method: "delete",
    path: "/v1/session/{id}",
    summary: "End a session and everything in it",
    body: z.object({ session_auth: z.string().optional() }),
  },
  {
    method: "post",
    path: "/v1/semantic_call",
    summary: "Call a semantic function: a template with inputs and outputs",
    body: semanticCallSchema.extend(sessionFields),
    answer: submitted,
  },
  {
    method: "post",
    path: "/v1/py_native_call",
    summary: "Call a Python function sent by the client, where the server allows it",
    body: nativeCallSchema.extend(sessionFields),
    answer: submitted,
  },
  {
    method: "post",
    path: "/v1/semantic_var",
    summary: "Make a variable",
    body: z.object({ ...sessionFields, var_name: z.string(), content: z.string().optional() }),
    answer: z.object({ var_id: z.string() }),
  },
  {
    method: "get",
    path: "/v1/semantic_var",
    summary: "List a session's variables",
    query: sessionQuery,
    answer: z.object({
      variables: z.array(
        z.object({ var_id: z.string(), var_name: z.string(), state: z.string() }),
      ),
    }),
  },
  {
    method: "post",
    path: "/v1/semantic_var/{id}",
    summary: "Set a variable, once",
    body: z.object({ ...sessionFields, content: z.string() }),
  },
  {
    method: "get",
    path: "/v1/semantic_var/{id}",
    summary: "Wait for a variable's value; what it depends on runs for the criteria given",
    query: sessionQuery.extend({ criteria }),
    answer: z.object({ content: z.string() }),
  },
  {
    method: "delete",
    path: "/v1/semantic_var/{id}",
    summary: "Stop the work that would set a variable",
    query: sessionQuery,
  },
  {
    method: "get",
    path: "/v1/semantic_var/{id}/stream",
    summary: "A variable's text as it is generated (server-sent events)",
    media: "text/event-stream",
    query: sessionQuery.extend({ criteria: criteria.optional() }),
  },
  {
    method: "get",
    path: "/v1/semantic_var/{id}/content",
    summary: "A variable's raw bytes: text, or what its data URL holds",
    media: "*/*",
    query: sessionQuery.extend({ criteria: criteria.optional() }),
  },
  {
    method: "put",
    path: "/v1/semantic_var/{id}/content",
    summary: "Set a variable from raw bytes of any media type",
    query: sessionQuery,
  },
];

/** Adds Parrot's routes to the OpenAPI document. They are mounted by hand, since GET bodies are none of OpenAPI's. */
export function describeParrotRoutes(router: AppRouter): void {
  for (const { method, path, summary, body, query, answer = z.object({}), media } of entries) {
    router.openAPIRegistry.registerPath({
      method,
      path,
      tags: ["Applications"],
      summary,
      request: {
        ...(path.includes("{id}") ? { params: idParameter } : {}),
        ...(query ? { query } : {}),
        ...(body
          ? {
            // A DELETE may say the same in its query.
            body: {
              required: method === "post",
              content: { "application/json": { schema: body } },
            },
          }
          : {}),
      },
      responses: {
        200: {
          description: "Done.",
          content: media === undefined
            ? { "application/json": { schema: answer } }
            : { [media]: { schema: z.string() } },
        },
        default: {
          description: "What went wrong.",
          content: { "application/json": { schema: failure } },
        },
      },
    });
  }
}
