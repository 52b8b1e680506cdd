import type { Context } from "hono";

/**
 * Gives the answer to a HEAD request the length that GET's has: it goes out without its body, and `Deno.serve` would say 0. Streams are left alone, since they may have
 * no end.
 */
export async function headLength(c: Context): Promise<void> {
  const { res } = c;
  if (c.req.raw.method !== "HEAD" || res.headers.has("Content-Length")) return;
  if (!/^(application\/json|text\/(?!event-stream))/.test(res.headers.get("Content-Type") ?? "")) {
    return;
  }
  const { byteLength } = await res.clone().arrayBuffer();
  res.headers.set("Content-Length", String(byteLength));
}
