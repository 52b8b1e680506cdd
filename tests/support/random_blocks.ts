import type { Rng } from "../../src/common/rng.ts";
import { numberToF16 } from "../../src/formats/f16.ts";
import { ggmlTypeByName } from "../../src/formats/gguf_blocks.ts";
import type { QuantizedType } from "../../src/formats/quantized_blocks.ts";

/** Where a block's half-precision scale and minimum lie, in bytes. */
const halves: Record<QuantizedType, number[]> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
};

/** Blocks of random codes, for `elements` weights whose root mean square is about `size`; scales times factors are exact in half precision. */
export function randomBlocks(
  name: QuantizedType,
  elements: number,
  rng: Rng,
  size: number,
): Uint8Array<ArrayBuffer> {
  const type = ggmlTypeByName(name);
  const bytes = Uint8Array.from(
    { length: elements / type.elements * type.bytes },
    () => rng.integer(256),
  );
  const view = new DataView(bytes.buffer);
  // What codes times factors come to, about.
  const usual = { Q4_0: 5, Q4_1: 9, Q5_0: 9, Q5_1: 18, Q8_0: 74, IQ4_NL: 70 }[name as string] ??
    { Q2_K: 16, Q3_K: 40, Q4_K: 320, Q5_K: 640, Q6_K: 1300, IQ4_XS: 1300 }[name as string]!;
  for (let at = 0; at < bytes.length; at += type.bytes) {
    for (const place of halves[name]) {
      const power = Math.round(Math.log2(size / usual)) - rng.integer(2);
      view.setUint16(at + place, numberToF16((rng.integer(2) ? 1 : -1) * 2 ** power), true);
    }
  }
  return bytes;
}
