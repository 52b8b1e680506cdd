import { loadNative } from "./load.ts";
import { type LutRunOptions, threadCount } from "./lut_isa.ts";
import { check } from "./status.ts";
import { u32Argument } from "./u32_argument.ts";

/**
 * Bicubic enlargement (a = -0.5, replicated borders) of one plane by 1 to 4. It has one instruction set, the compiler's.
 * @throws {RangeError} for lengths that do not fit.
 */
export function enlargePlane(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  scale: number,
  options: Omit<LutRunOptions, "isa"> = {},
): Uint8Array<ArrayBuffer> {
  const { out = new Uint8Array(plane.length * scale * scale) } = options;
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
      out,
      BigInt(out.length),
    ),
  );
  return out;
}
