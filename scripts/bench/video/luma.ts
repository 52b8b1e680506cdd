/** Pictures as studio luma, and their distance. @module */

import { decodeImage } from "../../../src/formats/image.ts";

/** One plane. */
export interface Luma {
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

/** An image file as interleaved RGB. */
export async function readRgb(path: string): Promise<Luma> {
  const { width, height, channels, data } = decodeImage(await Deno.readFile(path), path);
  const out = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) out[3 * i + c] = data[channels * i + c];
  }
  return { width, height, data: out };
}

/** BT.601 luma, 16 to 235, rounded. */
export function lumaOf({ width, height, data }: Luma): Luma {
  const out = new Uint8Array(width * height);
  for (let i = 0; i < out.length; i++) {
    const value = 65.481 * data[3 * i] + 128.553 * data[3 * i + 1] + 24.966 * data[3 * i + 2];
    out[i] = Math.round(16 + value / 255);
  }
  return { width, height, data: out };
}

/** Mean square difference over the common area without `shave` pixels at each side. */
export function meanSquare(a: Luma, b: Luma, shave: number): number {
  const width = Math.min(a.width, b.width), height = Math.min(a.height, b.height);
  let sum = 0;
  for (let y = shave; y < height - shave; y++) {
    for (let x = shave; x < width - shave; x++) {
      const d = a.data[y * a.width + x] - b.data[y * b.width + x];
      sum += d * d;
    }
  }
  return sum / ((width - 2 * shave) * (height - 2 * shave));
}

/** Decibels of a mean square difference at peak 255. */
export function decibels(square: number): number {
  return 10 * Math.log10(255 ** 2 / square);
}
