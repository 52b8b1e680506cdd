import { isLoopback } from "./host_name.ts";
import type { ResolvedAppOptions } from "./options.ts";

/**
 * What is wrong with the `Origin` header of a request to `url`; undefined where it is one of this server's own pages, one that CORS lets in, or
 * no page at all. A page may send another host forms and plain text without asking first, so that CORS alone keeps only the answer from it.
 */
export function originProblem(
  origin: string | undefined,
  url: URL,
  { allowedHosts = [], corsOrigins }: Pick<ResolvedAppOptions, "allowedHosts" | "corsOrigins">,
): string | undefined {
  if (origin === undefined || corsOrigins.includes("*") || corsOrigins.includes(origin)) {
    return undefined;
  }
  // Sandboxed frames and files have the origin "null".
  const page = URL.canParse(origin) ? new URL(origin) : undefined;
  const own = page !== undefined && page.port === url.port &&
    (page.hostname === url.hostname ||
      isLoopback(page.hostname) && isLoopback(url.hostname) ||
      allowedHosts.includes(page.hostname));
  if (own) return undefined;
  return `the request comes from a page of ${origin}, expected one of ${url.origin}: --cors ${origin} lets it`;
}
