import { loadNative } from "./load.ts";
import { check } from "./status.ts";

/**
 * Bicubic enlargement (a = -0.5, replicated borders) of one plane by 1 to 4 into `out`, which it returns.
 * @throws {RangeError} for lengths that do not fit.
 */
export function enlargePlane(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  scale: number,
  out: Uint8Array<ArrayBuffer> = new Uint8Array(plane.length * scale * scale),
  threads = navigator.hardwareConcurrency,
): Uint8Array<ArrayBuffer> {
  const library = loadNative();
  check(
    library,
    library.symbols.sparrow_lut_enlarge(
      threads,
      plane,
      BigInt(plane.length),
      width,
      height,
      scale,
      out,
      BigInt(out.length),
    ),
  );
  return out;
}
