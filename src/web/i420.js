/** The planes of a VideoFrame as Y, Cb, Cr end to end (4:2:0). */
export async function toI420(frame) {
  const width = frame.visibleRect.width, height = frame.visibleRect.height;
  if (frame.format === "I420") {
    const bytes = new Uint8Array(frame.allocationSize());
    const layout = await frame.copyTo(bytes);
    return { width, height, bytes: packed(bytes, layout, width, height) };
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(frame, 0, 0);
  return { width, height, bytes: fromRgba(context.getImageData(0, 0, width, height)) };
}

function packed(bytes, layout, width, height) {
  const half = [(width + 1) >> 1, (height + 1) >> 1];
  const out = new Uint8Array(width * height + 2 * half[0] * half[1]);
  let at = 0;
  layout.forEach(({ offset, stride }, plane) => {
    const [w, h] = plane === 0 ? [width, height] : half;
    for (let y = 0; y < h; y++, at += w) {
      out.set(bytes.subarray(offset + y * stride, offset + y * stride + w), at);
    }
  });
  return out;
}

/** BT.601, studio range; chroma is the mean of each 2x2. */
function fromRgba({ data, width, height }) {
  const w2 = (width + 1) >> 1, h2 = (height + 1) >> 1;
  const out = new Uint8Array(width * height + 2 * w2 * h2);
  for (let i = 0; i < width * height; i++) {
    out[i] = 16.5 +
      (65.481 * data[4 * i] + 128.553 * data[4 * i + 1] + 24.966 * data[4 * i + 2]) / 255;
  }
  for (let y = 0; y < h2; y++) {
    for (let x = 0; x < w2; x++) {
      let r = 0, g = 0, b = 0;
      for (const [dy, dx] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const at = 4 * (Math.min(2 * y + dy, height - 1) * width + Math.min(2 * x + dx, width - 1));
        r += data[at], g += data[at + 1], b += data[at + 2];
      }
      const at = width * height + y * w2 + x;
      out[at] = 128.5 + (-37.797 * r - 74.203 * g + 112 * b) / 1020;
      out[at + w2 * h2] = 128.5 + (112 * r - 93.786 * g - 18.214 * b) / 1020;
    }
  }
  return out;
}
