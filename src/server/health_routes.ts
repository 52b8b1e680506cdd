import { createRoute, z } from "@hono/zod-openapi";
import type { AppRouter, ServerContext } from "./context.ts";

const readinessSchema = z.object({
  status: z.enum(["ready", "starting", "degraded", "stopping"]),
  engines: z.array(z.object({
    model: z.string(),
    state: z.enum(["starting", "ready", "failed"]),
  })),
}).openapi("Readiness");

const readiness = { "application/json": { schema: readinessSchema } };

const healthRoute = createRoute({
  method: "get",
  path: "/health",
  tags: ["Operation"],
  summary: "Whether the server process answers",
  responses: {
    200: {
      description: "It does.",
      content: { "application/json": { schema: z.object({ status: z.literal("ok") }) } },
    },
  },
});

const readyRoute = createRoute({
  method: "get",
  path: "/ready",
  tags: ["Operation"],
  summary: "Whether every engine takes work",
  responses: {
    200: { description: "Every engine is ready.", content: readiness },
    503: { description: "One is starting or has failed, or the server stops.", content: readiness },
  },
});

/** `GET /health` (alive) and `GET /ready` (takes work). Both answer without a key. */
export function healthRoutes(router: AppRouter, { pool, desk }: ServerContext): void {
  router.openapi(healthRoute, (c) => c.json({ status: "ok" } as const, 200));
  router.openapi(readyRoute, (c) => {
    const engines = pool.load().map(({ model, state }) => ({ model, state }));
    if (desk.draining) return c.json({ status: "stopping", engines } as const, 503);
    if (engines.length > 0 && engines.every((e) => e.state === "ready")) {
      return c.json({ status: "ready", engines } as const, 200);
    }
    c.header("Retry-After", "1");
    const failed = engines.some((e) => e.state === "failed");
    return c.json({ status: failed ? "degraded" : "starting", engines } as const, 503);
  });
}
