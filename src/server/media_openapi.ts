import { z } from "@hono/zod-openapi";
import type { AppRouter } from "./context.ts";
import { errorSchema } from "./schema_common.ts";

const scale = z.enum(["2", "3", "4"]).optional().openapi({ description: "Default 4." });
const bytes = z.string().openapi({ format: "binary" });
const content = (...types: string[]) =>
  Object.fromEntries(types.map((type) => [type, { schema: bytes }]));
const refused = {
  description: "What is wrong, and what was expected.",
  content: { "application/json": { schema: errorSchema } },
};

/** Adds the picture and video routes to the OpenAPI document; their bodies are no JSON, so they are mounted by hand. */
export function describeMediaRoutes(router: AppRouter): void {
  router.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/images/upscale",
    tags: ["Pictures and video"],
    summary: "Enlarge a picture",
    request: {
      query: z.object({ scale }),
      body: { required: true, content: content("image/png", "image/jpeg") },
    },
    responses: {
      200: {
        description: "The picture, in the kind that `Accept` names or that was sent.",
        content: content("image/png", "image/jpeg"),
      },
      400: refused,
    },
  });
  router.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/videos/upscale",
    tags: ["Pictures and video"],
    summary: "Enlarge a video stream: y4m in, y4m out while the body still arrives",
    request: {
      query: z.object({
        scale,
        quality: z.enum(["full", "gate", "bicubic"]).optional().openapi({
          description: "Default full. With a budget, the most that is used.",
        }),
        budget_ms: z.string().optional().openapi({
          description:
            "Milliseconds a frame may take; quality steps down instead of frames being late.",
        }),
      }),
      body: { required: true, content: content("video/x-yuv4mpeg") },
    },
    responses: {
      200: { description: "The frames as they are done.", content: content("video/x-yuv4mpeg") },
      400: refused,
    },
  });
  router.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/videos/live",
    tags: ["Pictures and video"],
    summary: "A WebSocket of frames",
    description:
      "Send {width, height, scale, quality} as JSON, then one 4:2:0 frame a message; answers are {type: ready}, " +
      "frames, {type: dropped} for a frame that came too fast, {type: error}. Where a key is asked for, it comes as " +
      "`Authorization: Bearer KEY`, or from pages, which cannot set that, as a second subprotocol: " +
      '`new WebSocket(url, ["sparrow.live", "sparrow.key." + base64url(KEY)])`, without padding.',
    responses: { 101: { description: "The socket." }, 401: refused, 426: refused },
  });
}
