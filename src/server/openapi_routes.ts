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
    document ??= JSON.stringify(named(router.getOpenAPI31Document({
      openapi: "3.1.0",
      info: {
        title: "Sparrow",
        version: project.version,
        description: "Long-context language models and super-resolution on any GPU.",
        license: { name: "MIT" },
      },
      servers: [{ url: "/" }],
      security: [{ bearer: [] }, {}],
    })));
    return c.body(document, 200, { "Content-Type": "application/json" });
  });
}

type Document = ReturnType<AppRouter["getOpenAPI31Document"]>;

/** The document with a name for each operation, from which generated clients name their functions: `postV1ChatCompletions`. */
function named(document: Document): Document {
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    const words = path.split(/[^A-Za-z0-9]+/).map((word) =>
      word.charAt(0).toUpperCase() + word.slice(1)
    );
    for (const method of ["get", "post", "put", "delete"] as const) {
      const operation = item[method];
      if (operation) operation.operationId = method + words.join("");
    }
  }
  return document;
}
