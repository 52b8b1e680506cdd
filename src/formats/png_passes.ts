/** Pixels of a PNG that follow each other in its data: all of them, or those of one of the passes of an interlaced one. */
export interface PngPass {
  /** Column and row of the first, and steps to the next. */
  x: number;
  y: number;
  across: number;
  down: number;
  /** In pixels. */
  width: number;
  height: number;
  /** Of its rows, packed, each behind the number of its filter. */
  bytes: number;
}

/** First column and row, and steps, of the passes of an interlaced image (PNG specification, section 8.2). */
const interlaced = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** The passes of a PNG, those without pixels left out. `header`: the content of IHDR; `samples`: of a pixel. */
export function pngPasses(header: Uint8Array<ArrayBuffer>, samples: number): PngPass[] {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [columns, rows, depth] = [view.getUint32(0), view.getUint32(4), header[8]];
  const steps = header[12] === 0 ? [[0, 0, 1, 1]] as const : interlaced;
  return steps.map(([x, y, across, down]) => {
    const width = Math.max(0, Math.ceil((columns - x) / across));
    const height = Math.max(0, Math.ceil((rows - y) / down));
    const bytes = height * (1 + Math.ceil(width * samples * depth / 8));
    return { x, y, across, down, width, height, bytes };
  }).filter(({ width, height }) => width > 0 && height > 0);
}
