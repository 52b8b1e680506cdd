import { loadNative } from "./load.ts";
import { type LutRunOptions, threadCount } from "./lut_isa.ts";
import { check } from "./status.ts";
import { u32Argument } from "./u32_argument.ts";

/**
 * Where a plane's samples lie, across and down: in quarters of the way from one to the next, from the edge of the picture to the first. 2 is the
 * middle, where luma lies, and chroma between the luma samples that it stands for; 1 the first of two such luma samples.
 */
export type PlaneSiting = readonly [across: 1 | 2, down: 1 | 2];

/**
 * Bicubic enlargement (a = -0.5, replicated borders) of one plane by 1 to 4. It has one instruction set, the compiler's.
 * The result's samples lie as the plane's do, `siting` (default: in the middle).
 * @throws {RangeError} for lengths that do not fit.
 */
export function enlargePlane(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  scale: number,
  options: Omit<LutRunOptions, "isa"> & { siting?: PlaneSiting } = {},
): Uint8Array<ArrayBuffer> {
  const { out = new Uint8Array(plane.length * scale * scale), siting = [2, 2] } = options;
  const library = loadNative();
  check(
    library,
    library.symbols.sparrow_lut_enlarge(
      threadCount(options),
      plane,
      BigInt(plane.length),
      u32Argument("width", width),
      u32Argument("height", height),
      scale,
      siting[0],
      siting[1],
      out,
      BigInt(out.length),
    ),
  );
  return out;
}
