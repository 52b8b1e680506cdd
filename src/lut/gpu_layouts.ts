import type { LutPattern, LutStage } from "../../ffi/lut_cascade.ts";
import type { LutFusionModel, LutLayer } from "../../ffi/lut_fusion.ts";
import { turnBlock, turnPattern } from "./patterns.ts";

/** Bytes of an output row; scales below 4 leave the rest zero. */
const rowBytes = 16;

/** For each pattern and rotation dy, dx of four pixels. */
export function patternWords(patterns: readonly LutPattern[], step = 1): Int32Array<ArrayBuffer> {
  return Int32Array.from(
    patterns.flatMap((p) => [0, 1, 2, 3].flatMap((turn) => turnPattern(p, turn, step).flat())),
  );
}

/** For each rotation the place in a 16-output row of each output. */
export function turnWords(scale: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(64);
  for (let turn = 0; turn < 4; turn++) words.set(turnBlock(scale, turn), turn * 16);
  return words;
}

/** A stage's tables: one word a row to refine, rows of 16 bytes to enlarge. */
export function stageTables(stage: LutStage): Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> {
  const outputs = stage.scale ** 2;
  if (outputs === 1) {
    const words = new Int32Array(stage.tables.length * stage.tables[0].length);
    stage.tables.forEach((table, i) => words.set(table, i * table.length));
    return words;
  }
  const rows = stage.tables[0].length / outputs;
  const out = new Uint8Array(stage.tables.length * rows * rowBytes);
  stage.tables.forEach((table, pattern) => {
    for (let row = 0; row < rows; row++) {
      const to = (pattern * rows + row) * rowBytes;
      for (let o = 0; o < outputs; o++) out[to + o] = table[row * outputs + o];
    }
  });
  return out;
}

/** The tables of a fusion's first `kept` experts: `[patterns][rows][kept]` of 16 bytes, so that one lookup's experts lie together. */
export function fusionTables(model: LutFusionModel, kept: number): Uint8Array<ArrayBuffer> {
  const { experts, scale, tables } = model;
  const outputs = scale ** 2;
  const rows = tables[0].length / experts / outputs;
  const out = new Uint8Array(tables.length * rows * kept * rowBytes);
  tables.forEach((table, pattern) => {
    for (let e = 0; e < kept; e++) {
      for (let row = 0; row < rows; row++) {
        const to = ((pattern * rows + row) * kept + e) * rowBytes;
        const from = (e * rows + row) * outputs;
        for (let o = 0; o < outputs; o++) out[to + o] = table[from + o];
      }
    }
  });
  return out;
}

/** A layer's weights as words of four inputs, `[9][inputs / 4][outputs in 16s]`, and its bias, then its shift, of each output. */
export function layerWords(
  { inputs, outputs, weights, bias, shifts }: LutLayer,
): { groups: number; weights: Uint8Array<ArrayBuffer>; requantise: Int32Array<ArrayBuffer> } {
  const groups = Math.ceil(outputs / 16);
  const padded = groups * 16;
  const packed = new Uint8Array(9 * inputs * padded);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < 9 * inputs; i++) {
      packed[((i >> 2) * padded + o) * 4 + (i & 3)] = weights[o * 9 * inputs + i];
    }
  }
  const requantise = new Int32Array(2 * padded);
  requantise.set(bias);
  requantise.set(shifts, padded);
  return { groups, weights: packed, requantise };
}
