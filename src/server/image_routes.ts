import { ModelFormatError } from "../common/errors.ts";
import { sniffImage } from "../formats/image.ts";
import { upscaleImageFile } from "../lut/upscale_image_file.ts";
import { ApiError } from "./api_error.ts";
import type { AppRouter } from "./context.ts";
import { maxFramePixels } from "./frame_limit.ts";
import { readVideoQuery } from "./video_query.ts";

/**
 * `POST /v1/images/upscale?scale=4`: a PNG or JPEG in, the same kind of file back, 2, 3 or 4 times as large, by look-up tables
 * under a small net. `Accept: image/png` or `image/jpeg` asks for a kind.
 */
export function imageRoutes(router: AppRouter): void {
  router.post("/v1/images/upscale", async (c) => {
    const { scale } = readVideoQuery({ scale: c.req.query("scale") });
    const bytes = new Uint8Array(await c.req.arrayBuffer());
    if (bytes.length === 0) throw ApiError.invalid("the body is empty, expected a PNG or a JPEG");
    const wanted = /image\/(png|jpeg)/.exec(c.req.header("accept") ?? "")?.[1];
    const format = wanted === "png" || wanted === "jpeg" ? wanted : sniffImage(bytes) ?? "png";
    try {
      const big = await upscaleImageFile(bytes, () => ({ scale, format }), {
        name: "body",
        maxPixels: maxFramePixels,
        tenant: c.get("tenant"),
        signal: c.req.raw.signal,
      });
      return c.body(big, 200, { "Content-Type": `image/${format}` });
    } catch (error) {
      // A side that is too long for the tables is the picture's, too.
      if (error instanceof ModelFormatError || error instanceof RangeError) {
        throw ApiError.invalid(error.message);
      }
      throw error;
    }
  });
}
