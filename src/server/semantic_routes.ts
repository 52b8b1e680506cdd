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
      const value = /^text\//i.test(type) ? decodedText(bytes, type) : dataUrl(bytes, type);
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

/** A media type with its parameters, and so no prose that begins with `data:`, which is a text. */
const token = "[\\w!#$&^.+-]+";
const mediaType = `${token}/${token}(?:; *${token}=(?:${token}|"[^",\\\\]*"))*`;
const dataUrlHead = new RegExp(`^data:(${mediaType})(;base64)?,`);
const wholeType = new RegExp(`^${mediaType}$`);
/** Longest type that is kept with its parameters, in characters; a head is looked for in this many more. */
const longestType = 256;

function contentResponse(value: string): Response {
  const match = dataUrlHead.exec(value.slice(0, 2 * longestType));
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
        "Content-Type": match[1],
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
      },
    });
  } catch (error) {
    throw new GraphError("failed", `content: not a valid data URL: ${(error as Error).message}`);
  }
}

/** Text in the encoding that its type names. Throws `GraphError` (invalid) where it is not in that, or nobody knows it. */
function decodedText(bytes: Uint8Array<ArrayBuffer>, type: string): string {
  const charset = /;\s*charset="?([^";\s]+)/i.exec(type)?.[1] ?? "utf-8";
  try {
    return new TextDecoder(charset, { fatal: true }).decode(bytes);
  } catch (error) {
    throw new GraphError(
      "invalid",
      `content: expected text in ${charset}: ${(error as Error).message}`,
    );
  }
}

/** Without the parameters of a type where they would not come back out of it. */
function dataUrl(bytes: Uint8Array<ArrayBuffer>, type: string): string {
  const fits = [type, type.split(";")[0].trim(), "application/octet-stream"]
    .find((type) => type.length <= longestType && wholeType.test(type));
  return `data:${fits};base64,${bytes.toBase64()}`;
}
