import type { Surface } from "./context.ts";
import { imageRoutes } from "./image_routes.ts";
import { describeMediaRoutes } from "./media_openapi.ts";
import { videoRoutes } from "./video_routes.ts";
import { VideoPlaces } from "./video_places.ts";
import type { VideoSession } from "./video_session.ts";

/** Super-resolution of pictures and video: one route for files, a streamed one, and live sessions. */
export function videoSurface(): Surface {
  const sessions = new Set<VideoSession>();
  let places: VideoPlaces | undefined;
  const closeSessions = () => {
    for (const session of sessions) session.close();
    sessions.clear();
  };
  return {
    name: "video",
    streamed: ["/v1/videos/upscale"],
    mount(router, context) {
      const { maxVideos, videoIdleMs } = context.options;
      places = new VideoPlaces(maxVideos, videoIdleMs);
      imageRoutes(router);
      videoRoutes(router, sessions, places, context);
      describeMediaRoutes(router);
    },
    async drain(deadlineMs) {
      // Live video has no end of its own to wait for.
      closeSessions();
      await places?.drain(deadlineMs);
    },
    close() {
      closeSessions();
      return Promise.resolve();
    },
  };
}
