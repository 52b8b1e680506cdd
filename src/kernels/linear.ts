import { ceilDiv } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { compileLinear, type LinearOptions, type LinearVariant } from "./linear_variant.ts";
import type { WeightFormat } from "./weight_matrix.ts";

/** How many rows of a step are of which kind. */
export interface StepRows {
  /** All rows. */
  rows: number;
  /** The last rows, which decode. */
  decodes: number;
}

/**
 * Tile heights and how many quads of K an iteration covers, measured on llvmpipe at 1024³ (GFLOP/s of process CPU time, 2 cores with
 * neighbours): Q8_0 at 32 rows 47 / 60 / 51 for 1 / 2 / 4 quads, at 8 rows 25 / 36 / 46; f16 alike; f32 at 32 rows 47 / 49 / 38, at 8 rows
 * 25 / 23 / 23.
 */
const stepQuads: Record<WeightFormat, Record<8 | 32, number>> = {
  f32: { 8: 1, 32: 2 },
  f16: { 8: 2, 32: 2 },
  q8: { 8: 4, 32: 2 },
};

/** Most rows of a step for which the lanes family computes row norms inside its kernels. */
export const MAX_INLINE_NORM_ROWS = 16;

/** Most sampled rows that the wide family still treats as decode; only scoring a text has more. */
const maxSplitSamples = 64;

interface Choice {
  call: KernelCall;
  /** Rows of a workgroup. */
  tile: number;
  /** Workgroups across the columns. */
  across: number;
}

/**
 * Y = finish(X Wᵀ) with W in f32, f16 or Q8_0 and everything else f32.
 *
 * A row's result does not depend on the rows beside it. In the lanes family every variant adds up in the same order; in the wide family
 * rows of prefill and rows of decode always go to kernels of their own.
 *
 * Cost: 2 · rows · N · K operations; W is read once per tile of rows.
 */
export class Linear {
  readonly #choose: (rows: StepRows) => { choice: Choice; rows: number }[];

  private constructor(choose: (rows: StepRows) => { choice: Choice; rows: number }[]) {
    this.#choose = choose;
  }

  /** @throws {RangeError} when the operand's padded width is not the matrix's. */
  static async create(gpu: Gpu, options: LinearOptions): Promise<Linear> {
    const { label, input, matrix } = options;
    if (input.quadsPerRow * 4 !== matrix.columns) {
      throw new RangeError(
        `create linear ${label}: operand rows are ${
          input.quadsPerRow * 4
        } wide, the matrix has ${matrix.columns} columns`,
      );
    }
    return new Linear(
      gpu.kernels === "lanes" ? await createLanes(gpu, options) : await createWide(gpu, options),
    );
  }

  /** Records the product for the rows of a step, or for the sampled rows (`decodes` is then ignored). */
  record(pass: StepPass, rows: StepRows): void {
    for (const { choice, rows: count } of this.#choose(rows)) {
      pass.dispatch(choice.call, [choice.across, ceilDiv(count, choice.tile)]);
    }
  }
}

async function createLanes(
  gpu: Gpu,
  options: LinearOptions,
): Promise<(rows: StepRows) => { choice: Choice; rows: number }[]> {
  const { format, rows: columns } = options.matrix;
  const make = async (variant: LinearVariant, tile: number): Promise<Choice> => ({
    call: await compileLinear(gpu, options, variant),
    tile,
    across: columns / 64,
  });
  const [vector, short, tall] = await Promise.all([
    make({ kernel: "vector", rowSet: "all", storedNorm: false }, 1),
    make({
      kernel: "rows",
      rows: 8,
      stepQuads: stepQuads[format][8],
      rowSet: "all",
      storedNorm: false,
    }, 8),
    make({
      kernel: "rows",
      rows: 32,
      stepQuads: stepQuads[format][32],
      rowSet: "all",
      storedNorm: options.input.kind === "norm",
    }, 32),
  ]);
  return ({ rows }) => [{
    // The vector kernel loads W once per row: from 4 rows on the 8-row tile is cheaper even if partly empty.
    choice: rows <= 3 ? vector : rows <= MAX_INLINE_NORM_ROWS ? short : tall,
    rows,
  }];
}

async function createWide(
  gpu: Gpu,
  options: LinearOptions,
): Promise<(rows: StepRows) => { choice: Choice; rows: number }[]> {
  const columns = options.matrix.rows;
  const sampled = options.input.kind === "sampled";
  const [tiled, one, eight] = await Promise.all([
    compileLinear(gpu, options, { kernel: "tiled", rowSet: "prefill", storedNorm: true }),
    compileLinear(gpu, options, { kernel: "split", rows: 1, rowSet: "decode", storedNorm: true }),
    compileLinear(gpu, options, { kernel: "split", rows: 8, rowSet: "decode", storedNorm: true }),
  ]);
  const prefill: Choice = { call: tiled, tile: 128, across: columns / 64 };
  const single: Choice = { call: one, tile: 1, across: columns / 8 };
  const several: Choice = { call: eight, tile: 8, across: columns / 8 };
  return ({ rows, decodes }) => {
    const split = sampled ? (rows <= maxSplitSamples ? rows : 0) : decodes;
    return [
      { choice: prefill, rows: rows - split },
      { choice: split === 1 ? single : several, rows: split },
    ];
  };
}
