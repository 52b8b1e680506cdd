import { join } from "@std/path";
import type { LutStage } from "../../ffi/lut_cascade.ts";
import { ModelFormatError } from "../common/errors.ts";
import { readNpy } from "../formats/npy.ts";
import { type PatternName, patterns } from "./patterns.ts";

/** Which tables to read; the defaults are those of MuLUT-SDY-X2. */
export interface MulutOptions {
  /** Enlargement. Default 4. */
  scale?: number;
  /** Log2 of the sampling interval ("4bit" in the file names). Default 4. */
  shift?: number;
  /** Stages. Default 2. */
  stages?: number;
  /** Patterns, in the order in which they are summed. Default s, d, y. */
  patterns?: readonly PatternName[];
  /** File name of a table. Default: as MuLUT's training code names it. */
  name?: (stage: number, pattern: PatternName) => string;
}

/**
 * Reads tables that MuLUT's training code exports (`LUT_ft_x4_4bit_int8_s<stage>_<pattern>.npy`, int8 `[rows, outputs]`)
 * as the stages of a cascade: early stages average to a pixel around 127, the last one divides by the number of patterns.
 *
 * @throws {ModelFormatError} for an array of another type or shape, naming the file.
 * @throws {Deno.errors.NotFound} for a missing file.
 */
export function loadMulut(folder: string, options: MulutOptions = {}): LutStage[] {
  const { scale = 4, shift = 4, stages = 2 } = options;
  const used = options.patterns ?? ["s", "d", "y"];
  const name = options.name ??
    ((stage, pattern) => `LUT_ft_x${scale}_${shift}bit_int8_s${stage}_${pattern}.npy`);
  const rows = ((256 >> shift) + 1) ** 4;
  return Array.from({ length: stages }, (_, index) => {
    const last = index === stages - 1;
    const outputs = last ? scale * scale : 1;
    const tables = used.map((pattern) => {
      const path = join(folder, name(index + 1, pattern));
      const array = readNpy(path);
      if (array.type !== "int8" || array.data.length !== rows * outputs) {
        throw new ModelFormatError(
          `${path}: array is ${array.type} [${array.shape}], expected int8 [${rows},${outputs}]`,
        );
      }
      return array.data;
    });
    const interval = 1 << shift;
    const divisor = interval * used.length * (last ? 1 : 4);
    return {
      scale: last ? scale : 1,
      shift,
      rotations: 4,
      divisor,
      bias: last ? 0 : 127 * divisor,
      centre: false,
      patterns: used.map((pattern) => patterns[pattern]),
      tables,
    };
  });
}
