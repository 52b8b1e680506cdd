import { ceilDiv } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { type Bindings, bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments, type ShaderPath } from "./shader_files.ts";
import type { WeightFormat, WeightMatrix } from "./weight_matrix.ts";

/** The operand's rows: as they are, or RMS-normalised as they are read. `quadsPerRow` is the padded width / 4. */
export type LinearInput =
  | { kind: "plain"; buffer: GPUBuffer; quadsPerRow: number }
  | {
    kind: "norm";
    buffer: GPUBuffer;
    quadsPerRow: number;
    gain: GPUBuffer;
    width: number;
    epsilon: number;
    rowScale: GPUBuffer;
  }
  /** Only the rows listed for sampling. */
  | {
    kind: "sampled";
    buffer: GPUBuffer;
    quadsPerRow: number;
    gain: GPUBuffer;
    width: number;
    epsilon: number;
    samples: GPUBuffer;
  };

/** What becomes of the products: a fragment with its own buffers and constants. */
export interface LinearFinish {
  fragments: ShaderPath[];
  bindings: Bindings;
  constants: Record<string, number>;
}

interface Variant {
  /** Rows of a tile; 1 is the vector kernel. */
  rows: number;
  /** Quads of K per iteration. */
  stepQuads: number;
  /** Whether the row scales were computed beforehand. */
  storedNorm: boolean;
}

/** Columns of a lane; a workgroup of 8 lanes then covers 64, a head of the usual size. */
const COLUMNS = 8;

/**
 * Tile heights and how much of K an iteration covers, measured on llvmpipe at 1024³ (GFLOP/s of process CPU time, 2 cores with neighbours):
 * Q8_0 at 32 rows 47 / 60 / 51 for 1 / 2 / 4 quads, at 8 rows 25 / 36 / 46; f16 alike; f32 at 32 rows 47 / 49 / 38, at 8 rows 25 / 23 / 23.
 */
const stepQuads: Record<WeightFormat, Record<8 | 32, number>> = {
  f32: { 8: 1, 32: 2 },
  f16: { 8: 2, 32: 2 },
  q8: { 8: 4, 32: 2 },
};

const wordQuads: Record<WeightFormat, number> = { f32: 1, f16: 2, q8: 4 };

/**
 * Y = finish(X Wᵀ) with W in f32, f16 or Q8_0 and everything else f32. Three variants by the number of rows; all add up in the same order,
 * so a row's result does not depend on its batch.
 *
 * Cost: 2 · rows · N · K operations; W is read once per tile of rows.
 */
export class Linear {
  readonly #calls: { rows: number; call: KernelCall }[];
  readonly #tiles: number;

  private constructor(calls: { rows: number; call: KernelCall }[], tiles: number) {
    this.#calls = calls;
    this.#tiles = tiles;
  }

  /** Most rows for which `record` wants no row scales. */
  static readonly maxInlineNormRows = 16;

  /**
   * @throws {RangeError} when the operand's padded width is not the matrix's.
   */
  static async create(
    gpu: Gpu,
    { label, step, matrix, input, finish }: {
      label: string;
      step: GPUBuffer;
      matrix: WeightMatrix;
      input: LinearInput;
      finish: LinearFinish;
    },
  ): Promise<Linear> {
    if (input.quadsPerRow * 4 !== matrix.columns) {
      throw new RangeError(
        `create linear ${label}: operand rows are ${
          input.quadsPerRow * 4
        } wide, the matrix has ${matrix.columns} columns`,
      );
    }
    const norm = input.kind === "norm";
    const variants: Variant[] = [
      { rows: 1, stepQuads: 0, storedNorm: false },
      { rows: 8, stepQuads: stepQuads[matrix.format][8], storedNorm: false },
      { rows: 32, stepQuads: stepQuads[matrix.format][32], storedNorm: norm },
    ];
    const calls = await Promise.all(variants.map(async (variant) => ({
      rows: variant.rows,
      call: await compile(gpu, label, step, matrix, input, finish, variant),
    })));
    return new Linear(calls, matrix.rows / (8 * COLUMNS));
  }

  /** Records the product for `rows` rows. */
  record(pass: StepPass, rows: number): void {
    // The vector kernel loads W once per row: from 4 rows on the 8-row tile is cheaper even if partly empty.
    const { rows: tile, call } =
      this.#calls[rows <= 3 ? 0 : rows <= Linear.maxInlineNormRows ? 1 : 2];
    pass.dispatch(call, [this.#tiles, ceilDiv(rows, tile)]);
  }
}

async function compile(
  gpu: Gpu,
  label: string,
  step: GPUBuffer,
  matrix: WeightMatrix,
  input: LinearInput,
  finish: LinearFinish,
  variant: Variant,
): Promise<KernelCall> {
  const vector = variant.rows === 1;
  const fragments = shaderFragments(
    lanes(gpu),
    "lib/step",
    "lib/sample_struct",
    input.kind === "sampled" ? "dense/rows_sampled" : "dense/rows_all",
    matrix.fragment,
    ...inputFragments(input, variant),
    ...finish.fragments,
    vector ? "dense/linear_vector" : "dense/linear_rows",
  );
  const perWord = wordQuads[matrix.format];
  const shader = assembleShader(label, fragments, {
    COLS: COLUMNS,
    BLOCK_WORDS: 8 / perWord,
    ROWS: variant.rows,
    ROW_LOADS: Math.max(1, variant.rows / 8),
    STEP_QUADS: variant.stepQuads,
    STEP_WORDS: Math.max(1, variant.stepQuads / perWord),
  });
  const pipeline = await gpu.pipelines.get(shader, vector ? "linear_vector" : "linear_rows", {
    K_QUADS: matrix.columns / 128,
    INPUT_QUADS_PER_ROW: input.quadsPerRow,
    ...(input.kind !== "plain" && !variant.storedNorm
      ? { NORM_WIDTH: input.width, NORM_EPSILON: input.epsilon }
      : {}),
    ...matrix.constants,
    ...finish.constants,
  });
  return bindKernel(gpu, pipeline, {
    step,
    ...matrix.bindings,
    ...inputBindings(input, variant),
    ...finish.bindings,
  });
}

function inputFragments(input: LinearInput, { storedNorm }: Variant): ShaderPath[] {
  switch (input.kind) {
    case "plain":
      return ["dense/input_plain"];
    case "norm":
      return storedNorm ? ["dense/input_norm_stored"] : ["dense/input_norm", "dense/rms"];
    case "sampled":
      return ["dense/input_sampled", "dense/rms"];
  }
}

function inputBindings(input: LinearInput, { storedNorm }: Variant): Bindings {
  switch (input.kind) {
    case "plain":
      return { input: input.buffer };
    case "norm":
      return {
        input: input.buffer,
        gain: input.gain,
        ...(storedNorm ? { row_scale: input.rowScale } : {}),
      };
    case "sampled":
      return { input: input.buffer, gain: input.gain, samples: input.samples };
  }
}
