import type { Surface } from "./context.ts";
import { parrotSurface, type ParrotSurfaceOptions } from "./parrot_surface.ts";
import { videoSurface } from "./video_surface.ts";

/** Options of the surfaces below. */
export type SurfaceOptions = ParrotSurfaceOptions;

/** What beside the routes of this folder a server offers: one line each. Called once per server. */
export function defaultSurfaces(options: SurfaceOptions = {}): Surface[] {
  return [parrotSurface(options), videoSurface()];
}
