import type { Surface } from "./context.ts";

/** What beside the routes of this folder a server offers: one line each. Called once per server. */
export function defaultSurfaces(): Surface[] {
  return [];
}
