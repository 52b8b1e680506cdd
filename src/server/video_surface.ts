import type { Surface } from "./context.ts";
import { imageRoutes } from "./image_routes.ts";
import { describeMediaRoutes } from "./media_openapi.ts";
import { videoRoutes } from "./video_routes.ts";
import type { VideoSession } from "./video_session.ts";

/** Super-resolution of pictures and video: one route for files, a streamed one, and live sessions. */
export function videoSurface(): Surface {
  const sessions = new Set<VideoSession>();
  return {
    name: "video",
    streamed: ["/v1/videos/upscale"],
    mount(router, context) {
      imageRoutes(router);
      videoRoutes(router, sessions, context);
      describeMediaRoutes(router);
    },
    close() {
      for (const session of sessions) session.close();
      sessions.clear();
      return Promise.resolve();
    },
  };
}
