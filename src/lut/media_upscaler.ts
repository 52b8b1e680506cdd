import { decodeBase64, encodeBase64 } from "../common/base64.ts";
import { ModelFormatError } from "../common/errors.ts";
import type { Turn } from "../common/few_at_a_time.ts";
import { encodeY4mHeader } from "../formats/y4m.ts";
import type { LutScale } from "./model_file.ts";
import { upscaleImageFile } from "./upscale_image_file.ts";
import { WorkerUpscaler } from "./worker_upscaler.ts";
import { enlargedHeader, openY4mVideo, y4mChunks, y4mFrames } from "./y4m_video.ts";

/** What a node of the application graph asks for. */
export interface MediaUpscaleOptions {
  scale?: number;
  width?: number;
  height?: number;
}

/**
 * Enlarges the picture or video of a data URL by 2, 3 or 4: `image/png` and `image/jpeg` (one frame) and `video/x-yuv4mpeg`, each to
 * its own kind. It is what an application graph's upscale nodes run.
 */
export class LutMediaUpscaler {
  readonly #maxPixels: number | undefined;

  /** `maxPixels`: most pixels of a picture or frame that is taken; default what `decodeImage` and y4m admit. */
  constructor({ maxPixels }: { maxPixels?: number } = {}) {
    this.#maxPixels = maxPixels;
  }

  /**
   * @throws {RangeError} for an enlargement that tables do not have, or another kind of media.
   * @throws {ModelFormatError} for damaged media, or more pixels than are taken.
   */
  async upscale(
    dataUrl: string,
    options: MediaUpscaleOptions,
    turn: Turn & { signal: AbortSignal },
  ): Promise<string> {
    const [, kind, payload] = /^data:([^;,]+);base64,(.*)$/s.exec(dataUrl) ?? [];
    if (kind === undefined) {
      throw new RangeError("enlarge: the value is no data URL in base64");
    }
    const bytes = decodeBase64(payload);
    switch (kind) {
      case "image/png":
      case "image/jpeg": {
        const out = await upscaleImageFile(bytes, (width, height) => ({
          scale: wantedScale(options, width, height),
          format: kind === "image/png" ? "png" : "jpeg",
        }), { name: "data URL", maxPixels: this.#maxPixels, ...turn });
        return `data:${kind};base64,${encodeBase64(out)}`;
      }
      case "video/x-yuv4mpeg": {
        const out = await video(bytes, options, this.#maxPixels, turn.signal);
        return `data:${kind};base64,${encodeBase64(out)}`;
      }
      default:
        throw new RangeError(
          `enlarge: the media is ${kind}, expected image/png, image/jpeg or video/x-yuv4mpeg`,
        );
    }
  }
}

async function video(
  bytes: Uint8Array<ArrayBuffer>,
  options: MediaUpscaleOptions,
  maxPixels: number | undefined,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = await openY4mVideo(new Blob([bytes]).stream(), "data URL");
  const { header } = reader;
  if (maxPixels !== undefined && header.width * header.height > maxPixels) {
    throw new ModelFormatError(
      `data URL: frames are ${header.width}x${header.height}, expected at most ${maxPixels} pixels`,
    );
  }
  const scale = wantedScale(options, header.width, header.height);
  using upscaler = await WorkerUpscaler.open({ scale });
  const parts = [encodeY4mHeader(enlargedHeader(header, scale))];
  for await (const frame of upscaler.upscale(y4mFrames(reader), { signal })) {
    parts.push(...y4mChunks(frame));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** `scale`, or the one that gives `width` and `height`; 4 when nothing is said. */
function wantedScale(
  { scale, width, height }: MediaUpscaleOptions,
  from: number,
  high: number,
): LutScale {
  const wanted = scale ?? (width !== undefined ? width / from : undefined) ??
    (height !== undefined ? height / high : undefined) ?? 4;
  const fits = (width === undefined || width === from * wanted) &&
    (height === undefined || height === high * wanted);
  if ((wanted !== 2 && wanted !== 3 && wanted !== 4) || !fits) {
    throw new RangeError(
      `enlarge ${from}x${high}: scale ${scale ?? "absent"}, size ${width ?? "any"}x${
        height ?? "any"
      }; tables enlarge both sides by 2, 3 or 4`,
    );
  }
  return wanted;
}
