import { z } from "@hono/zod-openapi";
import type { AppRouter } from "./context.ts";
import { errorResponses } from "./error_responses.ts";
import { maxFramePixels, maxFrameSide } from "./frame_limit.ts";
import { errorSchema } from "./schema_common.ts";

const scale = z.enum(["2", "3", "4"]).optional().openapi({ description: "Default 4." });
const bytes = z.string().openapi({ format: "binary" });
const content = (...types: string[]) =>
  Object.fromEntries(types.map((type) => [type, { schema: bytes }]));
const refusal = (description: string) => ({
  description,
  content: { "application/json": { schema: errorSchema } },
});
const refused = refusal("What is wrong, and what was expected.");
const { 408: stalled, 413: tooLarge, 429: full, 503: stopping } = errorResponses;
/** What either of the routes for files may answer. */
const ofFiles = {
  400: refused,
  401: errorResponses[401],
  403: errorResponses[403],
  415: refusal("The body is compressed."),
};
const tooMany = refusal(
  "As many videos as may are under way; `Retry-After` says when to try again.",
);

/** Adds the picture and video routes to the OpenAPI document; their bodies are no JSON, so they are mounted by hand. */
export function describeMediaRoutes(router: AppRouter): void {
  router.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/images/upscale",
    tags: ["Pictures and video"],
    summary: "Enlarge a picture",
    description:
      `At most ${maxFramePixels} pixels, and ${maxFrameSide} a side. The answer is upright, as the picture's Exif block says, and has no ` +
      "colour profile or other metadata. A PNG that is interlaced with less than 8 bits a sample is refused.",
    request: {
      query: z.object({ scale }),
      body: { required: true, content: content("image/png", "image/jpeg") },
    },
    responses: {
      200: {
        description: "The picture, in the kind that `Accept` names or that was sent.",
        content: content("image/png", "image/jpeg"),
      },
      ...ofFiles,
      408: stalled,
      413: tooLarge,
      429: full,
    },
  });
  router.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/videos/upscale",
    tags: ["Pictures and video"],
    summary: "Enlarge a video stream: y4m in, y4m out while the body still arrives",
    description:
      `A body of any length, not interlaced; at most ${maxFramePixels} pixels a frame. What goes wrong after the first frame cuts the answer off.`,
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
      ...ofFiles,
      429: tooMany,
      503: stopping,
    },
  });
  router.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/videos/live",
    tags: ["Pictures and video"],
    summary: "A WebSocket of frames",
    description:
      "Send {width, height, scale, quality, budget_ms} as JSON, of which all but the size may be absent, then one 4:2:0 frame (Y, Cb, Cr; chroma lies in the middle of its four luma samples) a " +
      "binary message. Answers are {type: ready, width, height, device}, an enlarged frame for each frame, in order, {type: dropped} in place of one " +
      "that found four unanswered or not taken from the socket, and {type: error, message}. Another JSON message starts anew. " +
      `A frame has at most ${maxFramePixels} pixels, and ${maxFrameSide} a side. The socket of a client that leaves more untaken than four enlarged frames and a megabyte, or ` +
      "starts anew 17 times before the first start is done, is closed. Where a key is asked for, it comes as " +
      "`Authorization: Bearer KEY`, or from pages, which cannot set that, as a second subprotocol: " +
      '`new WebSocket(url, ["sparrow.live", "sparrow.key." + base64url(KEY)])`, without padding. Pages of other origins are refused (`--cors ORIGIN` ' +
      "lets one).",
    responses: {
      101: { description: "The socket." },
      400: refusal("The handshake is none of RFC 6455."),
      401: errorResponses[401],
      403: refusal("The request comes from a page of another origin."),
      426: refusal("The request asks for no WebSocket."),
      429: tooMany,
      503: stopping,
    },
  });
}
