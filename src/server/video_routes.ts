import { encodeY4mHeader, type Y4mReader } from "../formats/y4m.ts";
import { ModelFormatError } from "../common/errors.ts";
import { log } from "../common/log.ts";
import { WorkerUpscaler } from "../lut/worker_upscaler.ts";
import { enlargedHeader, openY4mVideo, y4mChunks, y4mFrames } from "../lut/y4m_video.ts";
import { checkOrigin } from "./access_middleware.ts";
import { ApiError } from "./api_error.ts";
import { answeredProtocol } from "./auth.ts";
import type { AppRouter, ServerContext } from "./context.ts";
import { CutAnswer } from "./cut_answer.ts";
import { maxFramePixels } from "./frame_limit.ts";
import type { VideoPlaces } from "./video_places.ts";
import { readVideoQuery } from "./video_query.ts";
import { VideoSession } from "./video_session.ts";
import { watchedBody } from "./watched_body.ts";

/**
 * Video over HTTP and WebSocket.
 *
 * `POST /v1/videos/upscale?scale=4&quality=full&budget_ms=…` takes a y4m stream and answers one while the body still arrives;
 * a client that goes away stops the work. `GET /v1/videos/live` upgrades to a WebSocket, see `VideoSession`.
 */
export function videoRoutes(
  router: AppRouter,
  sessions: Set<VideoSession>,
  places: VideoPlaces,
  { options }: ServerContext,
): void {
  router.post("/v1/videos/upscale", async (c) => {
    const { scale, quality, budgetMs } = readVideoQuery(c.req.query());
    using held = new DisposableStack();
    const given = c.req.raw.body;
    if (!given) throw ApiError.invalid("the body is empty, expected a y4m stream");
    const place = held.use(places.take(() => body.fail(idle())));
    const body = watchedBody(given, place.touch);
    const reader = await openBody(body.body);
    const { width, height } = reader.header;
    if (width * height > maxFramePixels) {
      await reader.cancel();
      throw ApiError.invalid(
        `frames are ${width}x${height}, expected at most ${maxFramePixels} pixels`,
      );
    }
    const upscaler = held.use(await WorkerUpscaler.open({ scale, quality, budgetMs }));
    const kept = held.move();
    const chunks = async function* () {
      using _closing = kept;
      yield encodeY4mHeader(enlargedHeader(reader.header, scale));
      for await (const frame of upscaler.upscale(y4mFrames(reader))) yield* y4mChunks(frame);
    }();
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        try {
          place.touch();
          const { done, value } = await chunks.next();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          // The head is gone: all that is left is to cut the stream, so that the client sees a failure.
          log("warn", "a video ended early", { error: (error as Error).message });
          controller.error(new CutAnswer(error));
        }
      },
      async cancel() {
        kept.dispose();
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
    const protocol = answeredProtocol(c.req.header("sec-websocket-protocol"));
    using held = new DisposableStack();
    const place = held.use(places.take(() => session.close(1013, idleWords)));
    const { socket, response } = upgrade(c.req.raw, protocol);
    const session = new VideoSession(socket, maxFramePixels, place);
    held.move();
    sessions.add(session);
    socket.addEventListener("close", () => sessions.delete(session));
    return response;
  });
}

const idleWords = "nothing came for long, and another video needed the place";

function idle(): ApiError {
  return new ApiError(idleWords, { status: 408, type: "invalid_request_error", code: "idle" });
}

/** The header of the body. Throws `ApiError`, since the file is the client's. */
async function openBody(body: ReadableStream<Uint8Array>): Promise<Y4mReader> {
  try {
    return await openY4mVideo(body, "body");
  } catch (error) {
    if (error instanceof ModelFormatError) throw ApiError.invalid(error.message);
    throw error;
  }
}

/** Answers a handshake (RFC 6455, section 4.2.1). Throws `ApiError` for one that is none. */
function upgrade(request: Request, protocol: string | undefined): Deno.WebSocketUpgrade {
  const key = request.headers.get("sec-websocket-key");
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key ?? "")) {
    throw ApiError.invalid(`Sec-WebSocket-Key is ${key ?? "absent"}, expected 16 bytes in base64`);
  }
  const version = request.headers.get("sec-websocket-version");
  if (version !== "13") {
    throw ApiError.invalid(`Sec-WebSocket-Version is ${version ?? "absent"}, expected 13`);
  }
  const connection = request.headers.get("connection") ?? "";
  if (!connection.toLowerCase().split(",").some((option) => option.trim() === "upgrade")) {
    throw ApiError.invalid(`Connection is ${connection || "absent"}, expected Upgrade`);
  }
  return Deno.upgradeWebSocket(request, { protocol });
}
