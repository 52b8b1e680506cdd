import { Handle } from "./handle.ts";
import { loadNative } from "./load.ts";
import { isaNumber, type LutRunOptions, threadCount } from "./lut_isa.ts";
import { check } from "./status.ts";
import { u32Argument } from "./u32_argument.ts";

/** Offsets (dy, dx) of the four pixels that index a table, most significant axis first; at most 3 places either way. */
export type LutPattern = readonly (readonly [dy: number, dx: number])[];

/**
 * One stage of tables: `out = clamp(floor((sum + bias + divisor/2) / divisor) + (centre ? pixel : 0))`, where `sum` adds every
 * pattern's interpolated row in every rotation (weights of one interpolation sum to `1 << shift`). A place is a pixel of the
 * cascade's input; later stages find the `step * step` pixels there that the stage before made of it.
 */
export interface LutStage {
  /** Outputs a side for each place, 1 to 4. */
  scale: number;
  /** Pixels a side that the stage reads for each place: 1, or 2 after a stage of scale 2; the scale is a multiple of it. Default 1. */
  step?: 1 | 2;
  /** Log2 of the sampling interval, 4 to 6. */
  shift: number;
  /** 1, or 4 for the rotation ensemble. */
  rotations: 1 | 4;
  /** 1 to 1024. */
  divisor: number;
  /** Added to the sum of a stage before it is divided. */
  bias: number;
  /** Whether the pixel under an output is added to what the tables give. */
  centre: boolean;
  /** The stage's tables and the pixels that index them. */
  patterns: readonly LutPattern[];
  /** For each pattern `(256 / 2**shift + 1)**4` rows of `scale²` values, last axis fastest. */
  tables: readonly Int8Array[];
}

/** A pattern list as the ABI takes it: dy, dx of each pixel. */
export function packPatterns(patterns: readonly LutPattern[]): Int8Array<ArrayBuffer> {
  return Int8Array.from(patterns.flatMap((pattern) => pattern.flat()));
}

/** Arrays end to end. */
export function concatInt8(parts: readonly Int8Array[]): Int8Array<ArrayBuffer> {
  const all = new Int8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Table stages in sequence, on the CPU: a function from plane to plane. */
export class LutCascade implements Disposable {
  /** Output pixels a side for each input pixel. */
  readonly scale: number;
  readonly #handle: Handle;

  private constructor(id: bigint, scale: number) {
    this.scale = scale;
    this.#handle = new Handle(this, "table cascade", id, close);
  }

  /**
   * Copies the tables into the native library's layouts.
   * @throws {RangeError} for sizes that do not fit, naming the value met and the value expected.
   */
  static open(stages: readonly LutStage[]): LutCascade {
    const library = loadNative();
    const shapes = Int32Array.from(
      stages.flatMap((
        s,
      ) => [
        s.scale,
        s.step ?? 1,
        s.shift,
        s.rotations,
        s.divisor,
        s.bias,
        s.centre ? 1 : 0,
        s.patterns.length,
      ]),
    );
    const offsets = packPatterns(stages.flatMap((s) => s.patterns));
    const values = concatInt8(stages.flatMap((s) => s.tables));
    const id = new BigUint64Array(1);
    check(
      library,
      library.symbols.sparrow_lut_cascade_open(
        shapes,
        BigInt(shapes.length),
        offsets,
        BigInt(offsets.length),
        values,
        BigInt(values.length),
        id,
      ),
    );
    return new LutCascade(id[0], stages.at(-1)!.scale);
  }

  /**
   * Enlarges one plane of `width * height` bytes; the result has `scale²` times as many.
   * @throws {RangeError} for lengths that do not fit, or an instruction set that the machine lacks.
   */
  run(
    plane: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
    options: LutRunOptions = {},
  ): Uint8Array<ArrayBuffer> {
    const { out = new Uint8Array(plane.length * this.scale ** 2) } = options;
    const library = loadNative();
    check(
      library,
      library.symbols.sparrow_lut_cascade_run(
        this.#handle.id,
        isaNumber(options.isa),
        threadCount(options),
        plane,
        BigInt(plane.length),
        u32Argument("width", width),
        u32Argument("height", height),
        out,
        BigInt(out.length),
      ),
    );
    return out;
  }

  /** Frees the tables. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}

function close(id: bigint): void {
  const library = loadNative();
  check(library, library.symbols.sparrow_lut_cascade_close(id));
}
