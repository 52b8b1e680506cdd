/**
 * Pixels to repeat around a frame before the fusion net sees it, and to cut off its result. The net's convolutions find zeros beyond a
 * frame, which the clean banks never learnt to bear: on flat bright frames their border was up to 18 levels off, with 2 pixels 1 level (more gain nothing).
 */
export const frameMargin = 2;

/** A plane with `margin` pixels around it that repeat its border. */
export function widen(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  margin: number,
): Uint8Array<ArrayBuffer> {
  const stride = width + 2 * margin;
  const out = new Uint8Array(stride * (height + 2 * margin));
  for (let y = 0; y < height + 2 * margin; y++) {
    const from = Math.min(height - 1, Math.max(0, y - margin)) * width;
    const row = out.subarray(y * stride, (y + 1) * stride);
    row.fill(plane[from], 0, margin);
    row.set(plane.subarray(from, from + width), margin);
    row.fill(plane[from + width - 1], margin + width);
  }
  return out;
}

/** The `width` × `height` pixels inside a plane that has `margin` more on every side. */
export function narrow(
  plane: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  margin: number,
): Uint8Array<ArrayBuffer> {
  const stride = width + 2 * margin;
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = (y + margin) * stride + margin;
    out.set(plane.subarray(from, from + width), y * width);
  }
  return out;
}
