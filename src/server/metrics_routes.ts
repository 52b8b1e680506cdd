import { createRoute, z } from "@hono/zod-openapi";
import type { AppRouter, ServerContext } from "./context.ts";
import { errorResponses } from "./error_responses.ts";

const route = createRoute({
  method: "get",
  path: "/metrics",
  tags: ["Operation"],
  summary: "Prometheus series",
  responses: {
    200: {
      description: "All series in Prometheus's text format.",
      content: { "text/plain": { schema: z.string() } },
    },
    401: errorResponses[401],
    403: errorResponses[403],
  },
});

/** `GET /metrics`. */
export function metricsRoutes(router: AppRouter, { metrics }: ServerContext): void {
  router.openapi(
    route,
    async (c) => c.text(await metrics.expose(), 200, { "Content-Type": metrics.contentType }),
  );
}
