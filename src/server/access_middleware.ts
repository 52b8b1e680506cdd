import type { MiddlewareHandler } from "hono";
import { ApiError } from "./api_error.ts";
import { bearerKey, socketKey } from "./auth.ts";
import type { AppEnv, ServerContext } from "./context.ts";
import { isIpAddress, isLoopback } from "./host_name.ts";
import { originProblem } from "./origin_problem.ts";
import { pagePaths } from "./page_routes.ts";

/** Answered without a key: liveness, and pages that hold nothing of anyone's. */
const open = new Set([...pagePaths, "/openapi.json", "/health", "/ready"]);

/**
 * Lets a request in: its host must be one that the server answers for, and its key one of the server's. Leaves the
 * caller's `cacheScope` and `tenant`. A server that is guarded by host names alone refuses pages of others too. Paths under `ownAuth` are left to their surface.
 */
export function accessMiddleware(
  { auth, options }: ServerContext,
  ownAuth: readonly string[],
): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const url = addressed(c.req.url);
    checkHost(url.hostname, options.allowedHosts);
    if (options.allowedHosts !== undefined) checkOrigin(c.req.header("Origin"), url, options);
    // Browsers let pages set no header of a socket but its subprotocols.
    const socket = c.req.header("Upgrade")?.toLowerCase() === "websocket";
    const key = bearerKey(c.req.header("Authorization")) ??
      (socket ? socketKey(c.req.header("Sec-WebSocket-Protocol")) : undefined);
    const identity = auth.identify(key);
    c.set("cacheScope", identity?.cacheScope ?? "");
    c.set("tenant", identity?.tenant ?? "");
    const free = open.has(url.pathname) || url.pathname.startsWith("/web/") ||
      ownAuth.some((prefix) => url.pathname.startsWith(prefix));
    if (identity === undefined && !free) {
      throw new ApiError(
        "a valid API key is required: send `Authorization: Bearer KEY`",
        { status: 401, type: "authentication_error", code: "invalid_api_key" },
      );
    }
    await next();
  };
}

/** Throws `ApiError` 403 for a request of a stranger's page. */
export function checkOrigin(
  origin: string | undefined,
  url: URL,
  options: ServerContext["options"],
): void {
  const problem = originProblem(origin, url, options);
  if (problem === undefined) return;
  throw new ApiError(problem, {
    status: 403,
    type: "invalid_request_error",
    code: "origin_not_allowed",
  });
}

/** The address of a request, which `Deno.serve` puts together from its Host header as it came. Throws `ApiError` 400 for none. */
function addressed(text: string): URL {
  if (URL.canParse(text)) return new URL(text);
  throw ApiError.invalid(`${text} is no address: the Host header is no host`);
}

function checkHost(host: string, allowed: readonly string[] | undefined): void {
  if (allowed === undefined || isLoopback(host) || isIpAddress(host)) return;
  if (allowed.includes(host)) return;
  throw new ApiError(
    `host "${host}" is not one that this server answers for; --allow-host ${host} lets it`,
    { status: 403, type: "invalid_request_error", code: "host_not_allowed" },
  );
}
