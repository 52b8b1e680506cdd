import type { Context } from "hono";
import { bearerKey } from "./auth.ts";
import type { AppEnv, AppRouter } from "./context.ts";
import { describeParrotRoutes } from "./parrot_openapi.ts";
import { jsonFields, type ParrotWire } from "./parrot_wire.ts";
import { utf8Text } from "./utf8_text.ts";

/** Parrot's paths; they check keys themselves, since its client sends its key in a body. */
export const parrotPaths: readonly string[] = [
  "/v1/session",
  "/v1/semantic_call",
  "/v1/py_native_call",
  "/v1/submit_py_native_call",
  "/v1/semantic_var",
];

/**
 * Parrot's routes on the main port. What its client sends in the body of a GET travels in the query here; a DELETE
 * may use either.
 */
export function parrotRoutes(router: AppRouter, wire: ParrotWire): void {
  const answer = async (c: Context<AppEnv>) => {
    const body = c.req.method === "GET" ? new ArrayBuffer() : await c.req.arrayBuffer();
    const fields = () => jsonFields(utf8Text(body, c.req.header("Content-Type")));
    const result = await wire.answer({
      method: c.req.method,
      path: c.req.path,
      fields: () => body.byteLength === 0 && c.req.method !== "POST" ? c.req.query() : fields(),
      bearer: bearerKey(c.req.header("Authorization")),
      signal: c.req.raw.signal,
    });
    if (!result) return c.notFound();
    return Response.json(result.body, { status: result.status, headers: result.headers });
  };
  for (
    const path of [
      "/v1/session",
      "/v1/session/:id",
      "/v1/semantic_call",
      "/v1/py_native_call",
      "/v1/submit_py_native_call",
      "/v1/semantic_var",
      "/v1/semantic_var/:id",
    ]
  ) router.all(path, answer);
  describeParrotRoutes(router);
}
