import { frameMargin, narrow, widen } from "./frame_margin.ts";
import type { LumaPath } from "./luma_path.ts";

/** What a frame is and how it is enlarged. */
export interface FuseOptions {
  width: number;
  height: number;
  /** Enlargement of the path's model. */
  scale: number;
  /** Bank of weights. */
  bank: number;
}

/** A frame's luma enlarged by the fusion net, its border included; `before` is its predecessor, or the frame itself after a cut. */
export async function fuseFrame(
  path: LumaPath,
  frame: Uint8Array<ArrayBuffer>,
  before: Uint8Array<ArrayBuffer>,
  { width, height, scale, bank }: FuseOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const now = widen(frame, width, height, frameMargin);
  const big = await path.fuse(
    now,
    before === frame ? now : widen(before, width, height, frameMargin),
    width + 2 * frameMargin,
    height + 2 * frameMargin,
    bank,
  );
  return narrow(big, width * scale, height * scale, frameMargin * scale);
}
