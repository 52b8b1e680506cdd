import { GraphRuntime } from "../graph/graph_runtime.ts";
import type { GraphRuntimeOptions } from "../graph/graph_runtime_options.ts";
import { pythonSandbox } from "../graph/python_sandbox.ts";
import { SqliteStore } from "../graph/sqlite_store.ts";
import { LutMediaUpscaler } from "../lut/media_upscaler.ts";
import { maxFramePixels } from "./frame_limit.ts";
import { appsRoutes } from "./apps_routes.ts";
import type { Listener, Surface } from "./context.ts";
import type { ApplicationOptions } from "./options.ts";
import { ParrotAccess } from "./parrot_access.ts";
import { parrotListener } from "./parrot_listener.ts";
import { parrotPaths, parrotRoutes } from "./parrot_routes.ts";
import { ParrotWire } from "./parrot_wire.ts";
import { semanticRoutes } from "./semantic_routes.ts";

/** How the application graph is served. */
export interface ParrotSurfaceOptions extends ApplicationOptions {
  /** Passed on to the graph, for embedding and tests. */
  graph?: Partial<Omit<GraphRuntimeOptions, "pool">>;
}

/** Applications of semantic variables, over HTTP: Parrot's wire on both ports, and our own routes beside it. */
export function parrotSurface(options: ParrotSurfaceOptions = {}): Surface {
  let graph: GraphRuntime | undefined;
  let wire: ParrotWire | undefined;
  return {
    name: "parrot",
    ownAuth: [...parrotPaths, "/v1/apps"],
    mount(router, context) {
      const made = graph = new GraphRuntime({
        pool: context.pool,
        tenants: context.auth.tenants,
        store: options.store === undefined ? undefined : new SqliteStore(options.store),
        nativeFunctions: options.allowNativeCalls ? pythonSandbox(options.python) : undefined,
        upscaler: new LutMediaUpscaler({ maxPixels: maxFramePixels }),
        ...options.graph,
        planner: { sharePrefixes: context.options.sharePrefixes, ...options.graph?.planner },
      });
      context.metrics.gauge(
        "sparrow_application_sessions",
        "Sessions of applications that are open",
        () => made.sessionCount,
      );
      context.metrics.gauge(
        "sparrow_application_characters",
        "Characters that sessions of applications hold, 512 for each variable included",
        () => made.charCount,
      );
      const access = new ParrotAccess(graph, context.auth);
      wire = new ParrotWire(graph, access);
      const { pingMs } = context.options;
      semanticRoutes(router, { graph, access, pingMs });
      appsRoutes(router, { graph, access, pingMs });
      parrotRoutes(router, wire);
    },
    listen: !options.parrotPort ? undefined : async (context, fetch): Promise<Listener> => {
      return await parrotListener({
        port: options.parrotPort === "any" ? 0 : options.parrotPort!,
        maxBodyBytes: context.options.maxBodyBytes,
        bodyIdleMs: context.options.bodyIdleMs,
        // Where a key is asked for, a page of others has none.
        pages: context.auth.required ? undefined : context.options,
        wire: wire!,
        fetch,
      });
    },
    async drain(deadlineMs) {
      await graph?.drain(deadlineMs);
    },
    async close() {
      await graph?.[Symbol.asyncDispose]();
    },
  };
}
