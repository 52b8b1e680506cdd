import { serveDir } from "@std/http/file-server";
import { fromFileUrl } from "@std/path";
import type { AppRouter } from "./context.ts";

/** Short addresses of pages. */
const pages: Record<string, string> = { "/": "/index.html", "/docs": "/docs.html" };

/**
 * The pages: `/`, `/docs`, and their files under `/web/`. They are read from disk, so a server imported over the
 * network has none.
 */
export function pageRoutes(router: AppRouter): void {
  const folder = new URL("../web/", import.meta.url);
  if (folder.protocol !== "file:") return;
  const fsRoot = fromFileUrl(folder);
  const send = async (request: Request, path: string) => {
    const url = new URL(path, request.url);
    const response = await serveDir(new Request(url, request), { fsRoot, quiet: true });
    if (response.status === 404) return undefined;
    response.headers.set("Cache-Control", "no-cache");
    response.headers.set(
      "Content-Security-Policy",
      "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; frame-ancestors 'none'",
    );
    response.headers.set("X-Content-Type-Options", "nosniff");
    response.headers.set("Referrer-Policy", "no-referrer");
    return response;
  };
  for (const [path, file] of Object.entries(pages)) {
    router.get(path, async (c) => await send(c.req.raw, file) ?? c.notFound());
  }
  router.get(
    "/web/*",
    async (c) => await send(c.req.raw, c.req.path.slice("/web".length)) ?? c.notFound(),
  );
}
