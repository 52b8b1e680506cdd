import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { requestId } from "hono/request-id";
import { routePath } from "hono/route";
import { log } from "../common/log.ts";
import type { EnginePool } from "../engine/types.ts";
import { accessMiddleware } from "./access_middleware.ts";
import { allowedMethods } from "./allowed_methods.ts";
import { ApiError } from "./api_error.ts";
import { Authenticator } from "./auth.ts";
import { chatRoutes } from "./chat_routes.ts";
import { bodyEnded, clientLeft } from "./client_left.ts";
import { completionsRoutes } from "./completions_routes.ts";
import type {
  AppEnv,
  AppRouter,
  FetchHandler,
  Listener,
  ServerContext,
  Surface,
} from "./context.ts";
import { embeddingsRoutes } from "./embeddings_routes.ts";
import { fromAnyError } from "./error_map.ts";
import { GenerationDesk } from "./generation_desk.ts";
import { headLength } from "./head_length.ts";
import { healthRoutes } from "./health_routes.ts";
import { limitBody } from "./limit_body.ts";
import { ServerMetrics } from "./metrics.ts";
import { metricsRoutes } from "./metrics_routes.ts";
import { modelsRoutes } from "./models_routes.ts";
import { openapiRoutes } from "./openapi_routes.ts";
import { type AppOptions, resolveAppOptions } from "./options.ts";
import { pageRoutes } from "./page_routes.ts";
import { responsesRoutes } from "./responses_routes.ts";
import { defaultSurfaces, type SurfaceOptions } from "./surfaces.ts";
import { tokenizeRoutes } from "./tokenize_routes.ts";
import { TrackedPool } from "./tracked_pool.ts";
import { validationHook } from "./validation_hook.ts";

/** The server without its port: give `fetch` to any HTTP listener. */
export interface App {
  /** Answers one request. */
  fetch: FetchHandler;
  /** Opens the listeners that surfaces have beside the main port. */
  listen(): Promise<Listener[]>;
  /**
   * Refuses new generations and videos, lets the running ones end until the deadline (`drainMs`), cancels the rest, and closes
   * surfaces. Leaves the pool open. Resolves to the number of generations cancelled.
   */
  shutdown(deadlineMs?: number): Promise<number>;
}

/** `setTimeout` fires at once for more. */
const longestTimerMs = 2 ** 31 - 1;

/** Makes the HTTP application over a pool. Throws `RangeError` for options out of range. */
export function createApp(
  { pool, options: given, surfaces = defaultSurfaces(given) }: {
    pool: EnginePool;
    options?: AppOptions & SurfaceOptions;
    /** Surfaces beside the built-in routes. Default: those of this package. */
    surfaces?: Surface[];
  },
): App {
  const options = resolveAppOptions(given);
  const metrics = new ServerMetrics(pool);
  const tracked = new TrackedPool(pool, metrics);
  const context: ServerContext = {
    pool: tracked,
    metrics,
    options,
    desk: new GenerationDesk(tracked),
    auth: new Authenticator(options.apiKeys, options),
  };
  const router: AppRouter = new OpenAPIHono<AppEnv>({ defaultHook: validationHook });

  router.use(requestId());
  router.use(async (c, next) => {
    await next();
    // What the context was told of headers, an answer that a route made by itself is without. Those of a socket's cannot be set.
    if (c.res.status !== 101) c.res.headers.set("X-Request-Id", c.get("requestId"));
    await headLength(c);
    metrics.request(routeLabel(routePath(c, -1)), methodLabel(c.req.method), c.res.status);
  });
  if (options.corsOrigins.length > 0) {
    const any = options.corsOrigins.includes("*");
    router.use(cors({
      origin: any ? "*" : [...options.corsOrigins],
      exposeHeaders: ["X-Request-Id", "Retry-After"],
    }));
  }
  router.use(accessMiddleware(context, surfaces.flatMap((surface) => surface.ownAuth ?? [])));
  const streamed = new Set(surfaces.flatMap((surface) => surface.streamed ?? []));
  router.use(limitBody({ maxBytes: options.maxBodyBytes, idleMs: options.bodyIdleMs }, streamed));

  modelsRoutes(router, context);
  chatRoutes(router, context);
  responsesRoutes(router, context);
  completionsRoutes(router, context);
  embeddingsRoutes(router, context);
  tokenizeRoutes(router, context);
  healthRoutes(router, context);
  metricsRoutes(router, context);
  for (const surface of surfaces) surface.mount(router, context);
  openapiRoutes(router);
  pageRoutes(router);

  const allowed = allowedMethods(router.routes);
  router.notFound((c) => {
    const { method, path } = c.req;
    const others = allowed(path);
    // A route that takes the method has found nothing there.
    if (others.length === 0 || others.includes(method)) {
      return new ApiError(`no route ${method} ${path}; /openapi.json lists them`, {
        status: 404,
        type: "invalid_request_error",
        code: "not_found",
      }).toResponse();
    }
    return new ApiError(`method ${method} of ${path}, expected ${others.join(" or ")}`, {
      status: 405,
      type: "invalid_request_error",
      code: "method_not_allowed",
    }).toResponse({ Allow: others.join(", ") });
  });
  router.onError(async (error, c) => {
    const { req } = c;
    // The validator's own words do not say what is wrong.
    if (error instanceof HTTPException && error.status === 400) {
      return jsonError(await req.text(), error).toResponse();
    }
    const left = req.raw.signal.aborted || bodyEnded(error);
    return toApiError(error, c.get("requestId"), left, req.header("Content-Type")).toResponse();
  });

  const fetch: FetchHandler = (request) => router.fetch(request);
  return {
    fetch,
    async listen() {
      const opened = surfaces.map((surface) => surface.listen?.(context, fetch));
      return (await Promise.all(opened)).filter((listener) => listener !== undefined);
    },
    async shutdown(givenMs = options.drainMs) {
      const deadlineMs = Math.min(givenMs, longestTimerMs);
      const began = performance.now();
      context.desk.refuse();
      // Before generations are waited for: an application goes on with others when one ends.
      await Promise.all(surfaces.map((surface) => surface.drain?.(deadlineMs)));
      const left = Math.max(0, deadlineMs - (performance.now() - began));
      const cancelled = await context.desk.drain(left);
      await Promise.all(surfaces.map((surface) => surface.close?.()));
      return cancelled;
    },
  };
}

/** The answer to a body that a route could not read as JSON. */
function jsonError(body: string, { message }: HTTPException): ApiError {
  try {
    JSON.parse(body);
    return ApiError.invalid(message);
  } catch (error) {
    const fault = body.trim() === "" ? "nothing" : (error as Error).message;
    return ApiError.invalid(`body: ${fault}, expected JSON`, undefined, "invalid_json");
  }
}

function toApiError(
  error: Error,
  requestId: string,
  left: boolean,
  contentType: string | undefined,
): ApiError {
  if (error instanceof HTTPException) {
    // Not read as JSON all the same: a form or plain text is what a browser sends to any host for any page; with JSON's
    // type it asks first.
    const message = error.status === 415
      ? `the body is said to be ${contentType ?? "of no type"}, expected JSON: send the header ` +
        "Content-Type: application/json (curl: --json in place of -d)"
      : error.message || "the request cannot be answered";
    return new ApiError(message, {
      status: error.status,
      type: "invalid_request_error",
    });
  }
  const known = fromAnyError(error);
  if (known !== undefined) return known;
  // A body that ended early, or work that was given up: no failure of ours, and nobody reads the answer.
  if (left) return clientLeft();
  log("error", "a request failed", { requestId, error: error.stack ?? String(error) });
  return new ApiError(`internal error; the server's log has it under request ${requestId}`, {
    status: 500,
    type: "server_error",
    code: "internal",
  });
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** The method as a metrics label: all but the usual ones count as one, as strangers may call a method what they like. */
function methodLabel(method: string): string {
  return methods.has(method) ? method : "other";
}

/** The route as a metrics label: unmatched paths count as one, so that strangers cannot make labels. */
function routeLabel(path: string): string {
  return path === "*" || path === "/*" || path === "" ? "other" : path;
}
