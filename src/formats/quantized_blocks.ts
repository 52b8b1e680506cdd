/** GGML's quantised blocks taken apart: a code for each weight, a scale and a minimum for each 16 of them. @module */

import { ModelFormatError } from "../common/errors.ts";

/** Weights that share a scale and a minimum: the least run that any type has them for. */
export const GROUP = 16;

/** Weight i is `scales[i / 16] * codes[i] - mins[i / 16]`. */
export class UnpackedWeights {
  readonly codes: Int8Array<ArrayBuffer>;
  /** The codes, four to a word. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
  readonly mins: Float32Array<ArrayBuffer>;

  /** @param count weights, in whole blocks */
  constructor(readonly count: number) {
    this.codes = new Int8Array(count);
    this.words = new Uint32Array(this.codes.buffer);
    this.scales = new Float32Array(count / GROUP);
    this.mins = new Float32Array(count / GROUP);
  }

  /** The weights themselves, rounded as GGML rounds them. */
  toFloats(): Float32Array<ArrayBuffer> {
    const { codes, scales, mins } = this;
    const group = (i: number) => Math.floor(i / GROUP);
    return Float32Array.from(
      codes,
      (code, i) => Math.fround(scales[group(i)] * code) - mins[group(i)],
    );
  }
}

/** Takes one block apart: its bytes start at `at`, its weights are those from `first` on. */
type Unpack = (view: DataView, at: number, out: UnpackedWeights, first: number) => void;

const f16 = (view: DataView, at: number) => view.getFloat16(at, true);

/** Gives the groups of `count` weights from `first` on this scale and minimum. */
function setGroups(out: UnpackedWeights, first: number, count: number, scale: number, min: number) {
  // One or two of them: a call of `fill` takes longer than all else that is done with 32 weights.
  for (let group = first / GROUP; group < (first + count) / GROUP; group++) {
    out.scales[group] = scale;
    out.mins[group] = min;
  }
}

/** 16 bytes of two codes each: the low halves are the first 16 weights, the high ones the others. */
function halves(view: DataView, at: number, out: UnpackedWeights, first: number) {
  for (let j = 0; j < 4; j++) {
    const word = view.getUint32(at + 4 * j, true);
    out.words[first / 4 + j] = word & 0x0f0f0f0f;
    out.words[first / 4 + 4 + j] = (word >>> 4) & 0x0f0f0f0f;
  }
}

/** A fifth bit for each of the 32 weights from `first` on. */
function fifthBits(bits: number, out: UnpackedWeights, first: number) {
  for (let i = 0; i < 32; i++) out.codes[first + i] |= ((bits >>> i) & 1) << 4;
}

/** Scale and minimum number `j` of the 8 that Q4_K and Q5_K pack into 12 bytes, 6 bits each. */
function scaleAndMin(view: DataView, at: number, j: number): [number, number] {
  const byte = (i: number) => view.getUint8(at + i);
  if (j < 4) return [byte(j) & 63, byte(j + 4) & 63];
  return [
    (byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4),
    (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4),
  ];
}

const blocks = {
  Q4_0(view, at, out, first) {
    const scale = f16(view, at);
    halves(view, at + 2, out, first);
    setGroups(out, first, 32, scale, 8 * scale);
  },
  Q4_1(view, at, out, first) {
    halves(view, at + 4, out, first);
    setGroups(out, first, 32, f16(view, at), -f16(view, at + 2));
  },
  Q5_0(view, at, out, first) {
    const scale = f16(view, at);
    halves(view, at + 6, out, first);
    fifthBits(view.getUint32(at + 2, true), out, first);
    setGroups(out, first, 32, scale, 16 * scale);
  },
  Q5_1(view, at, out, first) {
    halves(view, at + 8, out, first);
    fifthBits(view.getUint32(at + 4, true), out, first);
    setGroups(out, first, 32, f16(view, at), -f16(view, at + 2));
  },
  Q8_0(view, at, out, first) {
    for (let i = 0; i < 32; i++) out.codes[first + i] = view.getInt8(at + 2 + i);
    setGroups(out, first, 32, f16(view, at), 0);
  },
  Q2_K(view, at, out, first) {
    const [scale, min] = [f16(view, at + 80), f16(view, at + 82)];
    for (let part = 0; part < 8; part++) {
      twoBits(view, at + 16, out, first, part);
      for (let half = 0; half < 2; half++) {
        const packed = view.getUint8(at + 2 * part + half);
        setGroups(
          out,
          first + 32 * part + 16 * half,
          16,
          scale * (packed & 15),
          min * (packed >> 4),
        );
      }
    }
  },
  Q3_K(view, at, out, first) {
    const scale = f16(view, at + 108);
    for (let part = 0; part < 8; part++) {
      twoBits(view, at + 32, out, first, part);
      const base = first + 32 * part;
      // The third bit says that nothing is taken off.
      for (let i = 0; i < 32; i++) {
        out.codes[base + i] -= 4 - 4 * ((view.getUint8(at + i) >> part) & 1);
      }
      for (let group = 2 * part; group < 2 * part + 2; group++) {
        const low = (view.getUint8(at + 96 + group % 8) >> (group < 8 ? 0 : 4)) & 15;
        const high = (view.getUint8(at + 104 + group % 4) >> (2 * (group >> 2))) & 3;
        setGroups(out, first + 16 * group, 16, scale * ((low | (high << 4)) - 32), 0);
      }
    }
  },
  Q4_K(view, at, out, first) {
    fourBits(view, at, at + 16, out, first);
  },
  Q5_K(view, at, out, first) {
    fourBits(view, at, at + 48, out, first);
    for (let j = 0; j < 8; j++) {
      const bits = view.getUint32(at + 16 + 4 * j, true);
      for (let block = 0; block < 8; block++) {
        out.words[first / 4 + 8 * block + j] |= ((bits >>> block) & 0x01010101) << 4;
      }
    }
  },
  Q6_K(view, at, out, first) {
    const scale = f16(view, at + 208);
    for (let half = 0; half < 2; half++) {
      for (let j = 0; j < 8; j++) {
        const high = view.getUint32(at + 128 + 32 * half + 4 * j, true);
        for (let part = 0; part < 4; part++) {
          const low = view.getUint32(at + 64 * half + 32 * (part & 1) + 4 * j, true);
          const code = ((low >>> (4 * (part >> 1))) & 0x0f0f0f0f) |
            (((high >>> (2 * part)) & 0x03030303) << 4);
          // 32 off each byte, none borrowing from the next.
          out.words[first / 4 + 32 * half + 8 * part + j] = ((code | 0x80808080) - 0x20202020) ^
            0x80808080;
        }
      }
    }
    for (let group = 0; group < 16; group++) {
      setGroups(out, first + 16 * group, 16, scale * view.getInt8(at + 192 + group), 0);
    }
  },
  IQ4_NL(view, at, out, first) {
    halves(view, at + 2, out, first);
    lookUp(out, first);
    setGroups(out, first, 32, f16(view, at), 0);
  },
  IQ4_XS(view, at, out, first) {
    const scale = f16(view, at);
    const high = view.getUint16(at + 2, true);
    for (let block = 0; block < 8; block++) {
      const low = (view.getUint8(at + 4 + (block >> 1)) >> (4 * (block & 1))) & 15;
      halves(view, at + 8 + 16 * block, out, first + 32 * block);
      lookUp(out, first + 32 * block);
      const own = (low | (((high >> (2 * block)) & 3) << 4)) - 32;
      setGroups(out, first + 32 * block, 32, scale * own, 0);
    }
  },
} as const satisfies Record<string, Unpack>;

/** Two bits for each of the 32 weights of part `part` of a block of 256. */
function twoBits(view: DataView, at: number, out: UnpackedWeights, first: number, part: number) {
  for (let j = 0; j < 8; j++) {
    const word = view.getUint32(at + 32 * (part >> 2) + 4 * j, true);
    out.words[first / 4 + 8 * part + j] = (word >>> (2 * (part & 3))) & 0x03030303;
  }
}

/** Scales, minima and four bits of the 256 weights of a Q4_K or Q5_K block at `at`, whose codes start at `codes`. */
function fourBits(view: DataView, at: number, codes: number, out: UnpackedWeights, first: number) {
  const [scale, min] = [f16(view, at), f16(view, at + 2)];
  for (let pair = 0; pair < 4; pair++) {
    for (let j = 0; j < 8; j++) {
      const word = view.getUint32(codes + 32 * pair + 4 * j, true);
      out.words[first / 4 + 16 * pair + j] = word & 0x0f0f0f0f;
      out.words[first / 4 + 16 * pair + 8 + j] = (word >>> 4) & 0x0f0f0f0f;
    }
  }
  for (let block = 0; block < 8; block++) {
    const [factor, less] = scaleAndMin(view, at + 4, block);
    setGroups(out, first + 32 * block, 32, scale * factor, min * less);
  }
}

/** What the codes of IQ4 types stand for. */
const IQ4_VALUES = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

function lookUp(out: UnpackedWeights, first: number) {
  for (let i = first; i < first + 32; i++) out.codes[i] = IQ4_VALUES[out.codes[i]];
}

/** A quantised type that can be taken apart. */
export type QuantizedType = keyof typeof blocks;

/** Every {@linkcode QuantizedType}. */
export const quantizedTypes = Object.keys(blocks) as QuantizedType[];

/** Whether blocks of a type can be taken apart. */
export function isQuantized<T extends { readonly name: string }>(
  type: T,
): type is T & { readonly name: QuantizedType } {
  return Object.hasOwn(blocks, type.name);
}

/**
 * Takes whole blocks apart, `out.count` weights.
 *
 * @throws {ModelFormatError} when a scale or minimum is no number.
 */
export function unpackBlocks(
  type: { readonly name: QuantizedType; readonly elements: number; readonly bytes: number },
  bytes: Uint8Array,
  out: UnpackedWeights,
  where: string,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const unpack: Unpack = blocks[type.name];
  for (let block = 0; block * type.elements < out.count; block++) {
    unpack(view, block * type.bytes, out, block * type.elements);
  }
  for (let group = 0; group < out.scales.length; group++) {
    if (!Number.isFinite(out.scales[group] + out.mins[group])) {
      throw new ModelFormatError(
        `${where}: the scale of weights ${group * GROUP} to ${
          (group + 1) * GROUP - 1
        } of a row is not a number, expected a finite one`,
      );
    }
  }
}
