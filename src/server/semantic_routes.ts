import type { Context } from "hono";
import { parseCriteria } from "../graph/criteria.ts";
import { GraphError } from "../graph/graph_error.ts";
import type { GraphRuntime } from "../graph/graph_runtime.ts";
import { bearerKey } from "./auth.ts";
import type { AppEnv, AppRouter } from "./context.ts";
import type { ParrotAccess } from "./parrot_access.ts";
import { parrotError } from "./parrot_errors.ts";
import { eventStreamResponse, sseData } from "./sse.ts";

/** What these routes need. */
export interface SemanticRoutesOptions {
  graph: GraphRuntime;
  access: ParrotAccess;
  /** Milliseconds between comments on a silent stream. */
  pingMs: number;
}

/**
 * What Parrot's wire lacks: a variable's text as it is produced (`/stream`), and its raw bytes (`/content`), which is
 * how images and frames get in and out. Session fields travel in the query; errors have Parrot's shape.
 */
export function semanticRoutes(router: AppRouter, options: SemanticRoutesOptions): void {
  const { graph, access, pingMs } = options;
  const session = (c: Context<AppEnv>) =>
    access.session({
      sessionId: c.req.query("session_id"),
      sessionAuth: c.req.query("session_auth"),
      bearer: bearerKey(c.req.header("Authorization")),
    });
  const guarded = (handler: (c: Context<AppEnv>) => Response | Promise<Response>) =>
  async (
    c: Context<AppEnv>,
  ) => {
    try {
      return await handler(c);
    } catch (error) {
      const { status, body } = parrotError(error);
      return Response.json(body, { status });
    }
  };

  router.get(
    "/v1/semantic_var/:id/stream",
    guarded((c) => {
      const owner = session(c);
      const variable = owner.variable(c.req.param("id") ?? "");
      if (variable.state === "pending") {
        graph.demand(owner, variable, parseCriteria(c.req.query("criteria") ?? "TTFT"));
      }
      const leave = new AbortController();
      return eventStreamResponse(events(variable.stream(leave.signal)), {
        pingMs,
        onLeave: () => leave.abort(new DOMException("The client left", "AbortError")),
      });
    }),
  );

  router.get(
    "/v1/semantic_var/:id/content",
    guarded(async (c) => {
      const owner = session(c);
      const criteria = c.req.query("criteria") ?? "latency";
      const id = c.req.param("id") ?? "";
      const value = await graph.read(owner, id, criteria, c.req.raw.signal);
      return contentResponse(value);
    }),
  );

  router.on(
    ["POST", "PUT"],
    "/v1/semantic_var/:id/content",
    guarded(async (c) => {
      const owner = session(c);
      const bytes = new Uint8Array(await c.req.arrayBuffer());
      const type = c.req.header("Content-Type") ?? "application/octet-stream";
      const value = type.startsWith("text/")
        ? new TextDecoder().decode(bytes)
        : dataUrl(bytes, type);
      graph.setVariable(owner, c.req.param("id") ?? "", value);
      return Response.json({});
    }),
  );
}

/** Pieces as `{"text": …}`, then `{"done": true}`; a failure as `{"error": …, "traceback": …, "status": …}`, as a read would be answered. */
async function* events(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  try {
    for await (const text of pieces) yield sseData({ text });
    yield sseData({ done: true });
  } catch (error) {
    const { status, body } = parrotError(error);
    yield sseData({ ...body, status });
  }
}

function contentResponse(value: string): Response {
  const match = /^data:([^,]*?)(;base64)?,/.exec(value.slice(0, 256));
  if (!match) {
    return new Response(value, { headers: { "Content-Type": "text/plain; charset=utf-8" } });
  }
  const payload = value.slice(match[0].length);
  try {
    const bytes = match[2]
      ? Uint8Array.fromBase64(payload)
      : new TextEncoder().encode(decodeURIComponent(payload));
    // Values come from clients: never let a browser run one as a page of this server's.
    return new Response(bytes, {
      headers: {
        "Content-Type": match[1] || "text/plain",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
      },
    });
  } catch (error) {
    throw new GraphError("failed", `content: not a valid data URL: ${(error as Error).message}`);
  }
}

function dataUrl(bytes: Uint8Array, type: string): string {
  return `data:${type};base64,${bytes.toBase64()}`;
}
