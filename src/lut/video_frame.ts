/** How the chroma planes relate to the luma plane: `mono` has none. */
export type ChromaLayout = "420" | "422" | "444" | "mono";

/**
 * Where subsampled chroma lies: between the luma samples that it stands for, at the left ones (MPEG-2 and after it; 4:2:2 too), or at the
 * upper left one.
 */
export type ChromaSiting = "centre" | "left" | "topleft";

/** One picture of 8-bit planes, row-major, no padding. */
export interface VideoFrame {
  /** Luma columns. */
  width: number;
  /** Luma rows. */
  height: number;
  /** How chroma is sampled. */
  layout: ChromaLayout;
  /** `width * height` bytes. */
  y: Uint8Array<ArrayBuffer>;
  /** Cb, of `chromaSize`; empty for `mono`. */
  u: Uint8Array<ArrayBuffer>;
  /** Cr, of the same size. */
  v: Uint8Array<ArrayBuffer>;
  /** Where chroma of 4:2:0 and 4:2:2 lies, and lies in the enlarged frame; default centre. */
  siting?: ChromaSiting;
  /** Seconds from the stream's origin, where the source has one. Passed through untouched. */
  timestamp?: number;
}

/** Columns and rows of a chroma plane; halves round up. Throws `RangeError` for a layout that there is not. */
export function chromaSize(
  layout: ChromaLayout,
  width: number,
  height: number,
): [width: number, height: number] {
  switch (layout) {
    case "420":
      return [(width + 1) >> 1, (height + 1) >> 1];
    case "422":
      return [(width + 1) >> 1, height];
    case "444":
      return [width, height];
    case "mono":
      return [0, 0];
    default:
      throw new RangeError(`layout is ${layout as unknown}, expected 420, 422, 444 or mono`);
  }
}

/** Bytes of all planes. */
export function frameBytes(layout: ChromaLayout, width: number, height: number): number {
  const [w, h] = chromaSize(layout, width, height);
  return width * height + 2 * w * h;
}

/** Planes of `bytes` (luma, Cb, Cr end to end), without copying. */
export function frameOf(
  bytes: Uint8Array<ArrayBuffer>,
  layout: ChromaLayout,
  width: number,
  height: number,
  timestamp?: number,
  siting?: ChromaSiting,
): VideoFrame {
  const [w, h] = chromaSize(layout, width, height);
  const luma = width * height, chroma = w * h;
  return {
    width,
    height,
    layout,
    y: bytes.subarray(0, luma),
    u: bytes.subarray(luma, luma + chroma),
    v: bytes.subarray(luma + chroma, luma + 2 * chroma),
    ...(siting === undefined ? {} : { siting }),
    ...(timestamp === undefined ? {} : { timestamp }),
  };
}
