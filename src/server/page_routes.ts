import type { AppRouter } from "./context.ts";
import { serveFileFrom } from "./static_files.ts";

/** Short addresses of pages. */
const pages: Record<string, string> = {
  "/": "/index.html",
  "/docs": "/docs.html",
  "/video": "/video.html",
  "/apps": "/apps.html",
};

/** Paths of the pages. They hold nothing of anyone's: what they show, they ask for with the key that they are given. */
export const pagePaths: readonly string[] = Object.keys(pages);

/** The pages run no code but their own, load nothing from elsewhere, and sit in no one's frame. */
const headers: Record<string, string> = {
  "Content-Security-Policy":
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

/**
 * The pages: `/`, `/apps`, `/video`, `/docs`, and their files under `/web/`. They are read from disk, so a server imported over the
 * network has none.
 */
export function pageRoutes(router: AppRouter): void {
  const folder = new URL("../web/", import.meta.url);
  if (folder.protocol !== "file:") return;
  const send = async (request: Request, path: string) => {
    const response = await serveFileFrom(folder, path, request);
    for (const [name, value] of Object.entries(headers)) response?.headers.set(name, value);
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
