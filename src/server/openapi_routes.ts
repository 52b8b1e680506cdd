import project from "../../deno.json" with { type: "json" };
import type { AppRouter } from "./context.ts";

/** `GET /openapi.json`: OpenAPI 3.1, from the schemas that validate. Mount it last, to describe what is mounted. */
export function openapiRoutes(router: AppRouter): void {
  router.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "An API key, asked for unless the server listens on loopback only.",
  });
  let document: string | undefined;
  router.get("/openapi.json", (c) => {
    document ??= JSON.stringify(router.getOpenAPI31Document({
      openapi: "3.1.0",
      info: {
        title: "Sparrow",
        version: project.version,
        description: "Long-context language models and super-resolution on any GPU.",
      },
      security: [{ bearer: [] }, {}],
    }));
    return c.body(document, 200, { "Content-Type": "application/json" });
  });
}
