import { TrieRouter } from "hono/router/trie-router";

/** Says which methods a path takes, for those of `routes` that are none for every method, as middleware is. */
export function allowedMethods(
  routes: readonly { method: string; path: string }[],
): (path: string) => string[] {
  const router = new TrieRouter<string>();
  for (const { method, path } of routes) if (method !== "ALL") router.add("ALL", path, method);
  return (path) => {
    const found = new Set(router.match("ALL", path)[0].map(([method]) => method));
    if (found.has("GET")) found.add("HEAD");
    return [...found].sort();
  };
}
