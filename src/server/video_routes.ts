import { encodeY4mHeader, Y4mReader } from "../formats/y4m.ts";
import { ModelFormatError } from "../common/errors.ts";
import { log } from "../common/log.ts";
import { WorkerUpscaler } from "../lut/worker_upscaler.ts";
import { enlargedHeader, y4mChunks, y4mFrames } from "../lut/y4m_video.ts";
import { checkOrigin } from "./access_middleware.ts";
import { ApiError } from "./api_error.ts";
import { answeredProtocol } from "./auth.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { maxFramePixels } from "./frame_limit.ts";
import { VideoSession } from "./video_session.ts";
import { readVideoQuery } from "./video_query.ts";

/**
 * Video over HTTP and WebSocket.
 *
 * `POST /v1/videos/upscale?scale=4&quality=full&budget_ms=…` takes a y4m stream and answers one while the body still arrives;
 * a client that goes away stops the work. `GET /v1/videos/live` upgrades to a WebSocket, see `VideoSession`.
 */
export function videoRoutes(
  router: AppRouter,
  sessions: Set<VideoSession>,
  { options }: ServerContext,
): void {
  router.post("/v1/videos/upscale", async (c) => {
    const { scale, quality, budgetMs } = readVideoQuery(c.req.query());
    const body = c.req.raw.body;
    if (!body) throw ApiError.invalid("the body is empty, expected a y4m stream");
    const reader = await openBody(body);
    const { width, height } = reader.header;
    if (width * height > maxFramePixels) {
      throw ApiError.invalid(
        `frames are ${width}x${height}, expected at most ${maxFramePixels} pixels`,
      );
    }
    const upscaler = await WorkerUpscaler.open({ scale, quality, budgetMs });
    const chunks = async function* () {
      using _closing = upscaler;
      yield encodeY4mHeader(enlargedHeader(reader.header, scale));
      for await (const frame of upscaler.upscale(y4mFrames(reader))) yield* y4mChunks(frame);
    }();
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        try {
          const { done, value } = await chunks.next();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          // The head is gone: all that is left is to cut the stream, so that the client sees a failure.
          log("warn", "a video ended early", { error: (error as Error).message });
          controller.error(error);
        }
      },
      async cancel() {
        upscaler[Symbol.dispose]();
        await chunks.return(undefined);
      },
    });
    return c.body(stream, 200, { "Content-Type": "video/x-yuv4mpeg" });
  });

  router.get("/v1/videos/live", (c) => {
    if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
      throw new ApiError("this address takes WebSocket connections", {
        status: 426,
        type: "invalid_request_error",
      });
    }
    // Whatever the server asks for: nothing but this keeps a page of others from a socket.
    checkOrigin(c.req.header("origin"), new URL(c.req.url), options);
    if (!c.req.header("sec-websocket-key")) {
      throw ApiError.invalid("the header Sec-WebSocket-Key is absent, expected a WebSocket's");
    }
    const protocol = answeredProtocol(c.req.header("sec-websocket-protocol"));
    const { socket, response } = Deno.upgradeWebSocket(c.req.raw, { protocol });
    const session = new VideoSession(socket, maxFramePixels);
    sessions.add(session);
    socket.addEventListener("close", () => sessions.delete(session));
    return response;
  });
}

/** The header of the body. Throws `ApiError`, since the file is the client's. */
async function openBody(body: ReadableStream<Uint8Array>): Promise<Y4mReader> {
  try {
    return await Y4mReader.open(body, "body");
  } catch (error) {
    if (error instanceof ModelFormatError) throw ApiError.invalid(error.message);
    throw error;
  }
}
