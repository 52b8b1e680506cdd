import { checkImage } from "../formats/check_image.ts";
import type { RgbaImage } from "../formats/image.ts";
import { frameOf, type VideoFrame } from "./video_frame.ts";

/** An image's colours as studio BT.601 planes (4:4:4), the space that the tables were trained in, and its alpha, if any. Throws as `checkImage`. */
export function planesOf(
  image: RgbaImage,
): { frame: VideoFrame; alpha: Uint8Array<ArrayBuffer> | undefined } {
  checkImage(image);
  const { width, height, channels, data } = image;
  const count = width * height;
  const bytes = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) {
    const r = data[i * channels], g = data[i * channels + 1], b = data[i * channels + 2];
    bytes[i] = Math.round(16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255);
    bytes[count + i] = Math.round(128 + (-37.797 * r - 74.203 * g + 112 * b) / 255);
    bytes[2 * count + i] = Math.round(128 + (112 * r - 93.786 * g - 18.214 * b) / 255);
  }
  const alpha = channels === 4
    ? Uint8Array.from({ length: count }, (_, i) => data[4 * i + 3])
    : undefined;
  return { frame: frameOf(bytes, "444", width, height), alpha };
}

/** The image of 4:4:4 planes, and of `alpha` where there is one. */
export function imageOf(
  { width, height, y, u, v }: VideoFrame,
  alpha: Uint8Array<ArrayBuffer> | undefined,
): RgbaImage {
  const channels = alpha ? 4 : 3;
  const out = new Uint8ClampedArray(width * height * channels);
  for (let i = 0; i < y.length; i++) {
    const l = 1.164383562 * (y[i] - 16), cb = u[i] - 128, cr = v[i] - 128;
    out[i * channels] = l + 1.596026786 * cr;
    out[i * channels + 1] = l - 0.39176229 * cb - 0.812967647 * cr;
    out[i * channels + 2] = l + 2.017232143 * cb;
    if (alpha) out[i * channels + 3] = alpha[i];
  }
  return { width, height, channels, data: new Uint8Array(out.buffer) };
}
