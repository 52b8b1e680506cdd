import { Handle } from "./handle.ts";
import { loadNative } from "./load.ts";
import { concatInt8, type LutPattern, packPatterns } from "./lut_cascade.ts";
import { isaNumber, type LutRunOptions, threadCount } from "./lut_isa.ts";
import { check } from "./status.ts";
import { u32Argument } from "./u32_argument.ts";

/** A 3x3 convolution on 7-bit activations: `(bias + sum(weight * activation)) >> shift`. */
export interface LutLayer {
  /** A multiple of 4. */
  inputs: number;
  outputs: number;
  /** `[outputs][3][3][inputs]`. */
  weights: Int8Array;
  /** One an output, the rounding half included. */
  bias: Int32Array;
  /** One an output, 0 to 14. */
  shifts: Uint8Array;
}

/** Experts for different damage, the net that weighs them per pixel, and the residual branch. */
export interface LutFusionModel {
  scale: number;
  /** Log2 of the tables' sampling interval. */
  shift: number;
  /** Log2 of an expert's divisor. */
  divisorShift: number;
  experts: number;
  /** One or two, shared by all experts. */
  patterns: readonly LutPattern[];
  /** For each pattern `[experts][rows][scale²]`. */
  tables: readonly Int8Array[];
  /** At half resolution: 8 inputs (2x2 pixels of both frames), at most `experts` outputs; experts without one have no weight. */
  gates: readonly LutLayer[];
  /** 4 inputs (seven bits and one of both frames); `scale²` outputs in half grey levels. */
  trunk: readonly LutLayer[];
}

/** A fusion on the CPU: frame and predecessor to enlarged frame. */
export class LutFusion implements Disposable {
  readonly model: LutFusionModel;
  readonly #handle: Handle;

  private constructor(id: bigint, model: LutFusionModel) {
    this.model = model;
    this.#handle = new Handle(this, "table fusion", id, close);
  }

  /**
   * Copies the model into the native library's layouts.
   * @throws {RangeError} for sizes that do not fit, naming the value met and the value expected.
   */
  static open(model: LutFusionModel): LutFusion {
    const library = loadNative();
    const layers = [...model.gates, ...model.trunk];
    const shape = Uint32Array.of(
      model.scale,
      model.shift,
      model.divisorShift,
      model.experts,
      model.gates.length,
      model.trunk.length,
    );
    const offsets = packPatterns(model.patterns);
    const values = concatInt8(model.tables);
    const sizes = Uint32Array.from(layers.flatMap((layer) => [layer.inputs, layer.outputs]));
    const weights = concatInt8(layers.map((layer) => layer.weights));
    const bias = Int32Array.from(layers.flatMap((layer) => [...layer.bias]));
    const shifts = Uint8Array.from(layers.flatMap((layer) => [...layer.shifts]));
    const id = new BigUint64Array(1);
    check(
      library,
      library.symbols.sparrow_lut_fusion_open(
        shape,
        BigInt(shape.length),
        offsets,
        BigInt(offsets.length),
        values,
        BigInt(values.length),
        sizes,
        BigInt(sizes.length),
        weights,
        BigInt(weights.length),
        bias,
        BigInt(bias.length),
        shifts,
        BigInt(shifts.length),
        id,
      ),
    );
    return new LutFusion(id[0], model);
  }

  /**
   * Enlarges `frame` (`width * height` bytes of luma) with its predecessor's help (pass the frame itself after a cut). With
   * `residual` false only the blended experts run.
   * @throws {RangeError} for lengths that do not fit, or an instruction set that the machine lacks.
   */
  run(
    frame: Uint8Array<ArrayBuffer>,
    previous: Uint8Array<ArrayBuffer>,
    width: number,
    height: number,
    options: LutRunOptions & { residual?: boolean } = {},
  ): Uint8Array<ArrayBuffer> {
    const { residual = true, out = new Uint8Array(frame.length * this.model.scale ** 2) } = options;
    const library = loadNative();
    check(
      library,
      library.symbols.sparrow_lut_fusion_run(
        this.#handle.id,
        isaNumber(options.isa),
        threadCount(options),
        frame,
        BigInt(frame.length),
        previous,
        BigInt(previous.length),
        u32Argument("width", width),
        u32Argument("height", height),
        residual ? 1 : 0,
        out,
        BigInt(out.length),
      ),
    );
    return out;
  }

  /** Frees the model. Idempotent. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}

function close(id: bigint): void {
  const library = loadNative();
  check(library, library.symbols.sparrow_lut_fusion_close(id));
}
