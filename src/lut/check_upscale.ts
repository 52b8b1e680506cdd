import { type LumaDevice, lumaDevices } from "./luma_path.ts";
import { qualities, type Quality } from "./quality_ladder.ts";

/** What can be wrong with how media is to be enlarged. */
export interface UpscaleChoice {
  /** Enlargement. */
  scale?: number;
  /** The dearest step. */
  quality?: Quality;
  /** Milliseconds for a frame. */
  budgetMs?: number;
  /** Frames read ahead. */
  queue?: number;
  /** Where luma is computed. */
  device?: LumaDevice;
}

/** Throws `RangeError` for a scale other than 2, 3 and 4, an unknown quality or device, a budget that is not above 0 or a queue of no frames. */
export function checkUpscale({ scale, quality, budgetMs, queue, device }: UpscaleChoice): void {
  if (scale !== undefined && ![2, 3, 4].includes(scale)) {
    throw new RangeError(`scale is ${scale}, expected 2, 3 or 4`);
  }
  if (quality !== undefined && !qualities.includes(quality)) {
    throw new RangeError(`quality is ${quality}, expected ${qualities.join(", ")}`);
  }
  if (budgetMs !== undefined && !(budgetMs > 0)) {
    throw new RangeError(`budgetMs is ${budgetMs}, expected more than 0`);
  }
  if (queue !== undefined && !(Number.isInteger(queue) && queue > 0)) {
    throw new RangeError(`queue is ${queue}, expected a positive integer`);
  }
  if (device !== undefined && !lumaDevices.includes(device)) {
    throw new RangeError(`device is ${device}, expected ${lumaDevices.join(" or ")}`);
  }
}
