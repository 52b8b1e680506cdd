import type { RgbaImage } from "../formats/image.ts";

/** Pixels that tables and net look to one side, and some. */
const reach = 12;

const unknown = 0, queued = 1, visible = 2;

/**
 * The image with the colours of its visible pixels carried on into what is fully transparent beside them (a mean of the neighbours, ring by
 * ring). The colour that stands there is as a rule black, which enlarging would mix into the seam.
 */
export function bleedColours(image: RgbaImage): RgbaImage {
  const { width, height, channels } = image;
  if (channels !== 4) return image;
  const state = new Uint8Array(width * height);
  for (let at = 0; at < state.length; at++) if (image.data[4 * at + 3] > 0) state[at] = visible;
  if (!state.includes(unknown) || !state.includes(visible)) return image;
  const data = image.data.slice();
  let ring: number[] = [];
  /** Queues what is unknown beside `at`, and sets it to the mean of what is visible there if it is not so itself. */
  const visit = (at: number, next: number[]) => {
    const x = at % width, y = (at - x) / width;
    const [left, right] = [Math.max(0, x - 1), Math.min(width - 1, x + 1)];
    let r = 0, g = 0, b = 0, count = 0;
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
      for (let near = row * width + left; near <= row * width + right; near++) {
        if (state[near] === visible) {
          r += data[4 * near], g += data[4 * near + 1], b += data[4 * near + 2];
          count++;
        } else if (state[near] === unknown) {
          state[near] = queued;
          next.push(near);
        }
      }
    }
    if (state[at] === visible) return;
    data[4 * at] = Math.round(r / count);
    data[4 * at + 1] = Math.round(g / count);
    data[4 * at + 2] = Math.round(b / count);
  };
  for (let at = 0; at < state.length; at++) if (state[at] === visible) visit(at, ring);
  for (let step = 0; step < reach && ring.length > 0; step++) {
    const next: number[] = [];
    for (const at of ring) visit(at, next);
    for (const at of ring) state[at] = visible;
    ring = next;
  }
  return { ...image, data };
}
