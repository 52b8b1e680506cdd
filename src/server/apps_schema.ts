import { z } from "@hono/zod-openapi";
import { defaultSessionLimits } from "../graph/session.ts";
import { untilFault } from "./until_fault.ts";

/** Variables that one submission may read. */
const MAX_READS = 256;

/** No session has room for more. */
const most = defaultSessionLimits;

const variableSchema = z.object({
  ref: z.string(),
  name: z.string().optional(),
  content: z.string().optional().openapi({ description: "Default: to be set later." }),
});
const callSchema = z.record(z.string(), z.unknown());

/** Body of `POST /v1/apps`: a whole graph in one request. */
export const appSchema = z.object({
  session_id: z.number().int().optional().openapi({ description: "Default: a new session." }),
  session_auth: z.string().optional(),
  api_key: z.string().optional(),
  variables: untilFault(variableSchema, z.array(variableSchema), most.variables)
    .default([])
    .openapi({ description: "Variables that no call sets, under names for this request only." }),
  calls: untilFault(callSchema, z.array(callSchema), most.calls).default([]).openapi({
    description:
      "Bodies of /v1/semantic_call or /v1/py_native_call, or {kind: transform | upscale, …}. A parameter " +
      "may say `ref` where it would say `var_id`: a variable above, or the output of any call here that says the same.",
  }),
  outputs: untilFault(z.string(), z.record(z.string(), z.string()), most.variables).default({})
    .openapi({
      description: "Criteria by ref: what to start at once.",
    }),
  reads: z.array(
    z.object({
      ref: z.string(),
      criteria: z.string().optional().openapi({
        description: "Default: latency, with `stream` TTFT.",
      }),
      stream: z.boolean().default(false).openapi({ description: "In pieces, as they come." }),
    }),
  ).max(MAX_READS).default([]).openapi({
    description:
      "Variables whose values the answer carries, so that they take no request of their own. The answer is an " +
      "event stream then: the plain answer; for each variable {ref, content}, or with `stream` {ref, text} by pieces and " +
      "{ref, done}, or {ref, error, status}; at last {done}.",
  }),
}).openapi("App");

/** Answer of `POST /v1/apps`. */
export const appSubmittedSchema = z.object({
  session_id: z.number(),
  session_auth: z.string(),
  request_ids: z.array(z.number()),
  variables: z.record(z.string(), z.string()).openapi({ description: "Variable ids by ref." }),
}).openapi("AppSubmitted");

/** A validated body of `POST /v1/apps`. */
export type AppBody = z.infer<typeof appSchema>;

/** Answer of `GET /v1/apps/{session}`; `SessionDescription` says it in full. */
export const appDescriptionSchema = z.object({
  session_id: z.number(),
  variables: z.array(z.unknown()),
  nodes: z.array(z.unknown()),
  totals: z.unknown(),
}).openapi("AppDescription");
