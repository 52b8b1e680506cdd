import type { Surface } from "./context.ts";
import { videoRoutes } from "./video_routes.ts";
import type { VideoSession } from "./video_session.ts";

/** Video upscaling: a streamed route and live sessions. */
export function videoSurface(): Surface {
  const sessions = new Set<VideoSession>();
  return {
    name: "video",
    mount: (router) => videoRoutes(router, sessions),
    close() {
      for (const session of sessions) session.close();
      sessions.clear();
      return Promise.resolve();
    },
  };
}
