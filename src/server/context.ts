import type { OpenAPIHono } from "@hono/zod-openapi";
import type { EnginePool } from "../engine/types.ts";
import type { Authenticator } from "./auth.ts";
import type { GenerationDesk } from "./generation_desk.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { FetchHandler, ResolvedAppOptions } from "./options.ts";

export type { FetchHandler } from "./options.ts";

/** What the middleware leaves for the routes. */
export interface AppEnv {
  Variables: {
    requestId: string;
    /** The scope within which the caller's cached prefixes are shared. */
    cacheScope: string;
    /** Whose responses and sessions are the caller's. */
    tenant: string;
  };
}

/** The router that surfaces add their routes to. */
export type AppRouter = OpenAPIHono<AppEnv>;

/** What a surface may use. */
export interface ServerContext {
  /** The engines; what is submitted is measured and, when the server stops, waited for. Errors are the engine's own. */
  readonly pool: EnginePool;
  /** The same for OpenAI's routes, with their errors. */
  readonly desk: GenerationDesk;
  readonly metrics: ServerMetrics;
  readonly auth: Authenticator;
  readonly options: ResolvedAppOptions;
}

/**
 * A group of routes with a life of its own, such as an application graph's. Listed in `surfaces.ts`, or handed to
 * `createApp`.
 */
export interface Surface {
  readonly name: string;
  /** Path prefixes whose requests the surface authenticates itself, by `ServerContext.auth`. */
  readonly ownAuth?: readonly string[];
  /** Paths whose bodies are answered while they arrive: of any length, and not gathered first. */
  readonly streamed?: readonly string[];
  /** Adds the routes. Called once. */
  mount(router: AppRouter, context: ServerContext): void;
  /** Opens listeners beside the main port; called by `serve`, and closed before the main port is. */
  listen?(context: ServerContext, fetch: FetchHandler): Promise<Listener>;
  /** Takes no new work, and resolves once what runs has ended, or after `deadlineMs`. */
  drain?(deadlineMs: number): Promise<void>;
  /** Ends what the surface has running; called after draining. */
  close?(): Promise<void>;
}

/** A listener that a surface opened. */
export interface Listener {
  /** Where it listens, for people. */
  readonly address: string;
  close(): Promise<void>;
}
