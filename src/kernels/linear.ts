import { ceilDiv } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import {
  BYTES_COLUMNS,
  BYTES_ROWS,
  bytesSplitColumns,
  compileLinear,
  compileQuantiseRows,
  type LinearOptions,
  type LinearVariant,
  operandBytes,
  type QuantisedRows,
  splitColumns,
  TILED_ROWS,
} from "./linear_variant.ts";
import type { WeightFormat } from "./weight_matrix.ts";

/** How many rows of a step are of which kind. */
export interface StepRows {
  /** All rows. */
  rows: number;
  /** The last rows, which decode. */
  decodes: number;
}

/** Rows of a tile and quads of K per iteration. */
interface Tile {
  rows: number;
  stepQuads: number;
}

interface Tallest extends Tile {
  /** Rows of a step from which it may be used: where it takes 4 s to compile, only long steps gain enough. */
  from: number;
  /** Time of one of its rows over that of one in the tall tile, of the figures below. (Q8_0 steps of 64 to 250 tokens: 0.87 to 0.89.) */
  cost: number;
}

/**
 * Tiles of the lanes family, measured on llvmpipe at 1024³ (rows × quads; GFLOP/s of process CPU time on 2 cores).
 * Zen 5, 115 being the peak: Q8_0 8×4 46, 16×4 64, 32×2 66, 64×1 63; f16 8×2 37, 16×4 51, 32×2 59; f32 8×1 25, 16×4 35, 32×2 49, 64×1 61.
 * Zen 4, 140 being the peak: Q8_0 8×4 42, 16×4 49, 32×2 48, 32×4 55, 32×8 52, 64×4 48; f16 16×4 40, 32×2 48, 32×4 51.
 * A single tile at 1024² there, in ms of both cores (vector: one row): Q8_0 vector 0.25, 4×4 0.32, 8×4 0.46, 16×4 0.74, 32×4 1.25; f16 vector
 * 0.38, 4×2 0.39, 8×2 0.47, 16×4 0.83, 32×4 1.32; f32 vector 0.72, 4×1 0.60, 8×1 0.68, 16×1 0.93, 64×1 2.72.
 * The driver's compile time, paid once per machine, grows faster than the height: 0.3 s at 8 rows, 0.65 at 16, 1.3 at 32, 4 at 64.
 */
const byteTiles = {
  few: { rows: 4, stepQuads: 4 },
  short: { rows: 8, stepQuads: 4 },
  tall: { rows: 16, stepQuads: 4 },
  tallest: { rows: 32, stepQuads: 4, from: 17, cost: 0.88 },
};
const laneTiles: Record<WeightFormat, { few: Tile; short: Tile; tall: Tile; tallest: Tallest }> = {
  f32: {
    few: { rows: 4, stepQuads: 1 },
    short: { rows: 8, stepQuads: 1 },
    tall: { rows: 16, stepQuads: 1 },
    tallest: { rows: 64, stepQuads: 1, from: 64, cost: 0.57 },
  },
  f16: {
    few: { rows: 4, stepQuads: 2 },
    short: { rows: 8, stepQuads: 2 },
    tall: { rows: 16, stepQuads: 4 },
    tallest: { rows: 32, stepQuads: 4, from: 17, cost: 0.8 },
  },
  q8: byteTiles,
  q8g16: byteTiles,
  q8min: byteTiles,
  q4: byteTiles,
};

/**
 * Most rows of a step for which the lanes family computes row norms inside its kernels: those of one short tile. Two of them take longer
 * than one tall tile with norms of their own: 9 and 16 rows of `sparrow-tiny` decode in 0.90 and 0.88 of the time.
 */
export const MAX_INLINE_NORM_ROWS = 8;

/**
 * Columns from which one decoding row is worth two pairs of columns a thread, as more rows always are: operands are then loaded half as often, by half as many
 * workgroups. (One H200, Q8_0, us with one pair and two: [128256][4096] 228, 194; [28672][4096] 59, 52; [6144][4096] 20, 22; [4096][14336] 32, 47;
 * eight rows of [128256][4096] 717, 496.)
 */
const MANY_COLUMNS = 8192;

/**
 * Prefill rows up to which short tiles by ranges of K take less time than tiles of 128 rows, which are few workgroups and partly empty. (One H200, four layers
 * of Llama 3 8B's shape in Q8_0, ms with the one and the other: 192 rows 14.9, 16.8; 224 rows 17.4, 16.9. With tiles of 32 rows and all of K a thread 16 rows
 * took 5.5, by ranges 2.8.)
 */
const LOW_ROWS = 192;
/** The same of products of bytes. (192 rows 2.1 and 2.8, 256 rows 2.7 and 2.6 ms a layer.) */
const LOW_BYTE_ROWS = 240;
/**
 * Workgroups of tall tiles up to which a discrete GPU takes short ones, whatever the rows: most of it would have nothing to do. (One H200, bytes, 256 rows,
 * us with tall and short ones: 64 workgroups of [4096][4096] 319, 214, of [4096][14336] 991, 683; 96 of [6144][4096] 324, 326.)
 */
const FEW_WORKGROUPS = 80;
/**
 * Weights of a matrix from which decode multiplies bytes too, where prefill does: with fewer the dispatch that makes them costs one row more than they gain. (One
 * H200, Q8_0, us with f32 and bytes of 1, 8 and 32 rows: [2048][2048] 16, 23; 18, 23; 32, 31. [9728][896] 21, 20; 32, 23; 76, 51. [2048][8192] 25, 27; 33, 35;
 * 73, 55. A layer of Llama 3 8B's shape of 1, 4, 8, 16 and 64 rows 176, 144; 211, 158; 294, 205; 548, 291; 1829, 766.)
 */
const MANY_WEIGHTS = 2 ** 23;
/** Of a workgroup of one decoding row by bytes. (The layer above with the other shape 217 us, with this one 144.) */
const ONE_BY_BYTES = { pairs: 1, threads: 256 };
/** Of more. (8 rows with 256 threads 228 us for 205; 16 rows with one pair 316 for 291; tiles of 32 rows gained nothing.) */
const MORE_BY_BYTES = { pairs: 2, threads: 128 };
/** Rows of such a tile. (Of 8 and 32: 24 rows 3.3 and 4.3 ms for 3.3, 64 rows 6.6 and 5.7 for 5.3.) */
const RANGES_ROWS = 16;

interface Choice {
  call: KernelCall;
  /** Rows of a workgroup. */
  tile: number;
  /** Workgroups across the columns. */
  across: number;
  /** Whether tiles of rows are neighbours, so that they find in the cache what each reads of W. */
  rowsFirst?: boolean;
}

/** The kernels of one product. */
interface Kernels {
  /** What makes bytes of a step's rows first, if its kernels take bytes. */
  quantise?: (rows: StepRows) => QuantisedRows | undefined;
  /** Which take the rows of a step, of those that there are. */
  choose: (rows: StepRows) => { choice: Choice; rows: number }[];
  /** Compile those that can be done without; a row's result is the same with and without them. */
  later: (() => Promise<KernelCall>)[];
}

/**
 * Y = finish(X Wᵀ) with W in a `WeightFormat` and everything else f32.
 *
 * A row's result does not depend on the rows beside it. In the lanes family every variant adds up in the same order; in the wide family
 * rows of prefill and rows of decode always go to kernels of their own.
 *
 * Cost: 2 · rows · N · K operations; W is read once per tile of rows.
 */
export class Linear {
  readonly #quantise: Kernels["quantise"];
  readonly #choose: Kernels["choose"];
  readonly #later: Kernels["later"];

  private constructor({ quantise, choose, later }: Kernels) {
    this.#quantise = quantise;
    this.#choose = choose;
    this.#later = later;
  }

  /**
   * Compiles what products of any number of rows need; see `prepare`.
   * @throws {RangeError} when the operand's padded width is not the matrix's.
   */
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

  /** Whether a step's product of normalised rows finds their scales itself, as it does where it makes whole numbers of them. */
  findsRowScales(rows: StepRows): boolean {
    return this.#quantise?.(rows)?.scales === true;
  }

  /**
   * Compiles the next kernel that only makes some products faster, and uses it from then on.
   * @returns undefined when there is none left
   */
  async prepare(): Promise<KernelCall | undefined> {
    const next = this.#later[0];
    const call = await next?.();
    this.#later.shift();
    return call;
  }

  /** Records the product for the rows of a step, or for the sampled rows (`decodes` is then ignored). */
  record(pass: StepPass, rows: StepRows): void {
    const quantised = this.#quantise?.(rows);
    if (quantised) {
      const { call, across, scales } = quantised;
      pass.dispatch(call, scales ? [rows.rows] : [across, rows.rows]);
    }
    for (const { choice: { call, tile, across, rowsFirst }, rows: count } of this.#choose(rows)) {
      const tiles = ceilDiv(count, tile);
      pass.dispatch(call, rowsFirst ? [tiles, across] : [across, tiles]);
    }
  }
}

async function createLanes(gpu: Gpu, options: LinearOptions): Promise<Kernels> {
  const { input, matrix } = options;
  const { format, rows: columns } = matrix;
  const tiles = laneTiles[format];
  const make = async (variant: LinearVariant, tile: number): Promise<Choice> => ({
    call: await compileLinear(gpu, options, variant),
    tile,
    across: columns / 64,
  });
  const storedNorm = input.kind === "norm";
  const tile = ({ rows, stepQuads }: Tile, storedNorm: boolean) =>
    make({ kernel: "rows", rows, stepQuads, rowSet: "all", storedNorm }, rows);
  const [vector, short, tall] = await Promise.all([
    make({ kernel: "vector", rowSet: "all", storedNorm: false }, 1),
    tile(tiles.short, false),
    tile(tiles.tall, storedNorm),
  ]);
  let few: Choice | undefined;
  let tallest: Choice | undefined;
  const later = [async () => (few = await tile(tiles.few, false)).call];
  // Many rows are seldom sampled: not worth a kernel that takes seconds to compile.
  if (input.kind !== "sampled") {
    later.unshift(async () => (tallest = await tile(tiles.tallest, storedNorm)).call);
  }
  const choose = ({ rows }: StepRows) => {
    // The vector kernel loads W once per row: from 2 rows on a tile is cheaper even if partly empty.
    if (rows === 1) return [{ choice: vector, rows }];
    if (few && rows <= few.tile) return [{ choice: few, rows }];
    if (rows <= MAX_INLINE_NORM_ROWS) return [{ choice: short, rows }];
    const filled = (tile: number) => Math.ceil(rows / tile) * tile;
    const { from, rows: height, cost } = tiles.tallest;
    const gains = rows >= from && cost * filled(height) < filled(tall.tile);
    return [{ choice: gains && tallest ? tallest : tall, rows }];
  };
  return { choose, later };
}

async function createWide(gpu: Gpu, options: LinearOptions): Promise<Kernels> {
  const columns = options.matrix.rows;
  // Sampled rows all go the way of decode: which kernel a row meets must not depend on how many are sampled.
  const sampled = options.input.kind === "sampled";
  const make = async (variant: LinearVariant, tile: number, across: number): Promise<Choice> => ({
    call: await compileLinear(gpu, options, variant),
    tile,
    across,
  });
  const bytes = operandBytes(options);
  const decodesBytes = bytes &&
    options.matrix.columns * columns >= (bytes.decodeWeights ?? MANY_WEIGHTS);
  const ofDecode = { rowSet: "decode", storedNorm: true } as const;
  const split = async (rows: number, pairs: number): Promise<Choice> => {
    if (!decodesBytes) {
      const across = columns / splitColumns({ pairs });
      return await make({ kernel: "split", rows, pairs, ...ofDecode }, rows, across);
    }
    const shape = rows === 1 ? ONE_BY_BYTES : MORE_BY_BYTES;
    const across = columns / bytesSplitColumns(shape);
    const choice = await make({ kernel: "bytes_split", rows, ...shape, ...ofDecode }, rows, across);
    return { ...choice, rowsFirst: true };
  };
  const ofPrefill = { rowSet: "prefill", storedNorm: true } as const;
  const tiled = () =>
    bytes
      ? make({ kernel: "bytes", ...ofPrefill }, BYTES_ROWS, ceilDiv(columns, BYTES_COLUMNS))
      : make({ kernel: "tiled", ...ofPrefill }, TILED_ROWS, columns / 64);
  const ranges = () => {
    const kernel = bytes ? "bytes_ranges" : "ranges";
    return make({ kernel, rows: RANGES_ROWS, ...ofPrefill }, RANGES_ROWS, columns / 64);
  };
  const [quantised, one, eight, tall] = await Promise.all([
    bytes && compileQuantiseRows(gpu, options, bytes),
    split(1, columns < MANY_COLUMNS ? 1 : 2),
    split(8, 2),
    sampled ? undefined : tiled(),
  ]);
  // Two to four rows take about half as long as by the kernel of eight: Q8_0 [28672][4096] 85 us for 186.
  let four: Choice | undefined;
  let sixteen: Choice | undefined;
  let low: Choice | undefined;
  const later = [async () => (four = await split(4, 2)).call];
  if (decodesBytes) later.push(async () => (sixteen = await split(16, 2)).call);
  if (tall) later.unshift(async () => (low = await ranges()).call);
  const decode = (rows: number) => {
    if (rows === 1) return one;
    if (sixteen && rows > eight.tile) return sixteen;
    return four && rows <= four.tile ? four : eight;
  };
  const choose = ({ rows, decodes }: StepRows) => {
    const decoding = sampled ? rows : decodes;
    const choices = [{ choice: decode(decoding), rows: decoding }];
    if (tall) {
      const filling = rows - decoding;
      const few = filling <= (bytes ? LOW_BYTE_ROWS : LOW_ROWS) ||
        gpu.adapterClass === "discrete" &&
          tall.across * ceilDiv(filling, tall.tile) <= FEW_WORKGROUPS;
      const choice = low && few ? low : tall;
      choices.unshift({ choice, rows: filling });
    }
    return choices;
  };
  const quantise = (rows: StepRows) =>
    decodesBytes || rows.rows > rows.decodes ? quantised : undefined;
  return { quantise, choose, later };
}
