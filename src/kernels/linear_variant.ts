import { ceilDiv } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { type Bindings, bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader, type ShaderConstants } from "../gpu/shader.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments, type ShaderPath } from "./shader_files.ts";
import type { WeightFormat, WeightMatrix } from "./weight_matrix.ts";

/** The operand's rows: as they are, or RMS-normalised as they are read. `quadsPerRow` is the padded width / 4. */
export type LinearInput =
  | { kind: "plain"; buffer: GPUBuffer; quadsPerRow: number; bytes?: OperandBytes }
  | ({ kind: "norm"; bytes?: OperandBytes } & NormInput)
  /** Only the rows listed for sampling. */
  | ({ kind: "sampled"; samples: GPUBuffer } & NormInput);

/** An operand that is normalised: `width` is the true width, `rowScale` what the row-scales kernel wrote. */
export interface NormInput {
  buffer: GPUBuffer;
  quadsPerRow: number;
  gain: GPUBuffer;
  width: number;
  epsilon: number;
  rowScale: GPUBuffer;
}

/**
 * Where the wide family puts rows as bytes, to multiply them with quantised weights as bytes; of no use elsewhere. Products that do not run at the same
 * time may share them.
 */
export interface OperandBytes {
  /** A byte for each value of the padded rows. */
  words: GPUBuffer;
  /** For each 32 values two f32: their scale, and the scaled sum of their bytes. */
  lines: GPUBuffer;
  /** Weights of a matrix from which rows of decode are multiplied as bytes, as rows of prefill always are. Default: from which that is faster. */
  decodeWeights?: number;
}

/** What becomes of the products: fragments with their own buffers and constants. */
export interface LinearFinish {
  fragments: ShaderPath[];
  bindings: Bindings;
  constants: Record<string, number>;
  /** Whether its code is long: it is then repeated less in the tiles, which compile much faster for it. Default false. */
  long?: boolean;
}

/** A product to compile. */
export interface LinearOptions {
  label: string;
  /** The step's uniform buffer. */
  step: GPUBuffer;
  matrix: WeightMatrix;
  input: LinearInput;
  finish: LinearFinish;
}

/** Which kernel computes it, for which rows, and whether row norms were computed beforehand. */
export type LinearVariant =
  & { rowSet: "all" | "prefill" | "decode"; storedNorm: boolean }
  & (
    | { kernel: "vector" }
    | { kernel: "rows"; rows: number; stepQuads: number }
    | {
      kernel: "ranges";
      /** A multiple of 8. */
      rows: number;
    }
    | { kernel: "tiled" }
    | { kernel: "bytes" }
    | {
      kernel: "bytes_ranges";
      /** A multiple of 16, 32 at most. */
      rows: number;
    }
    | {
      kernel: "split";
      /** One, or so many that `rows * pairs` is a multiple of 8. */
      rows: number;
      /** Pairs of columns that a thread works on. */
      pairs: number;
    }
    | {
      kernel: "bytes_split";
      /** So many that `rows * pairs` is a multiple of 8, or less than that. */
      rows: number;
      /** Pairs of columns that a thread works on. */
      pairs: number;
      /** Of a workgroup. */
      threads: number;
    }
  );

/** Quads of 4 weights in a 16-byte word. */
const wordQuads: Record<WeightFormat, number> = {
  f32: 1,
  f16: 2,
  q8: 4,
  q8g16: 4,
  q8min: 4,
  q4: 8,
};

/**
 * Threads of `linear_split` and of `linear_bytes_split` that share a column: the same whatever the rows and columns, since they set the order of sums. (One H200, us of one
 * row with 32, 64 and 128 threads: Q8_0 [28672][4096] 55, 50, 52; [4096][14336] 46, 32, 30; [4096][4096] 17, 14, 13; of eight rows of the
 * first 116, 120, 135. Loading for two or four rounds at once gained nothing more. By bytes, a layer of Llama 3 8B's shape with 16, 32, 64 and 128 threads, one
 * row 147, 113, 103, 112, eight rows 223, 178, 156, 188.)
 */
const SPLIT_LANES = 64;
/** Of its workgroup. */
const SPLIT_THREADS = 128;

/** Rows a thread of `linear_tiled`, and quads of K in a tile: as many as fit the workgroup memory that WebGPU guarantees. */
const TILED = { R: 8, KQ: 4 };
/** Rows of a workgroup of a `tiled` variant. */
export const TILED_ROWS = 16 * TILED.R;

/** Rows of a workgroup of a `bytes` variant. */
export const BYTES_ROWS = 128;
/** Columns of one. */
export const BYTES_COLUMNS = 128;

/** Of each quantised format: numbers that 32 weights are scaled with, and whether they have an offset as well. */
const byteFormats: Partial<Record<WeightFormat, { HALVES: number; OFFSET: number }>> = {
  q8: { HALVES: 1, OFFSET: 0 },
  q8g16: { HALVES: 2, OFFSET: 0 },
  q8min: { HALVES: 1, OFFSET: 1 },
  q4: { HALVES: 1, OFFSET: 1 },
};

/** Where a product takes its operand's rows as bytes, if it does. */
export function operandBytes({ input, matrix }: LinearOptions): OperandBytes | undefined {
  return input.kind !== "sampled" && byteFormats[matrix.format] ? input.bytes : undefined;
}

/** Columns of a workgroup of a `split` variant. */
export function splitColumns({ pairs }: { pairs: number }): number {
  return 2 * pairs * SPLIT_THREADS / SPLIT_LANES;
}

/** Columns of a workgroup of a `bytes_split` variant. */
export function bytesSplitColumns({ pairs, threads }: { pairs: number; threads: number }): number {
  return 2 * pairs * threads / SPLIT_LANES;
}

/** Columns of a lane; a workgroup of 8 lanes then covers 64, a head of the usual size. */
const LANE_COLUMNS = 8;

/** Compiles one variant and binds its buffers. */
export async function compileLinear(
  gpu: Gpu,
  options: LinearOptions,
  variant: LinearVariant,
): Promise<KernelCall> {
  const { label, step, matrix, input, finish } = options;
  const bytes = variant.kernel.startsWith("bytes") ? operandBytes(options) : undefined;
  const inlineNorm = input.kind !== "plain" && !variant.storedNorm;
  const fragments = shaderFragments(
    lanes(gpu),
    "lib/step",
    "lib/sample_struct",
    `dense/rows_${input.kind === "sampled" ? "sampled" : variant.rowSet}`,
    ...matrix.fragments,
    ...(bytes ? byteFragments(input) : inputFragments(input, variant.storedNorm)),
    ...finish.fragments,
    `dense/linear_${variant.kernel}`,
  );
  const shader = assembleShader(
    label,
    fragments,
    shaderConstants(matrix.format, variant, finish.long === true),
  );
  const pipeline = await gpu.pipelines.get(shader, `linear_${variant.kernel}`, {
    K_QUADS: matrix.columns / 128,
    ...(bytes ? {} : { INPUT_QUADS_PER_ROW: input.quadsPerRow }),
    ...(variant.kernel === "bytes" ? { COLUMN_TILES: matrix.rows / 64 } : {}),
    ...(inlineNorm ? { NORM_WIDTH: input.width, NORM_EPSILON: input.epsilon } : {}),
    ...matrix.constants,
    ...finish.constants,
  });
  const bindings = {
    step,
    ...matrix.bindings,
    ...(bytes ? byteBindings(input, bytes) : inputBindings(input, variant.storedNorm)),
    ...finish.bindings,
  };
  return bindKernel(gpu, pipeline, bindings);
}

function shaderConstants(
  format: WeightFormat,
  variant: LinearVariant,
  longFinish: boolean,
): ShaderConstants {
  const quads = wordQuads[format];
  switch (variant.kernel) {
    case "vector":
      return { COLS: LANE_COLUMNS, BLOCK_WORDS: 8 / quads };
    case "rows":
      return {
        COLS: LANE_COLUMNS,
        ROWS: variant.rows,
        ROW_LOADS: Math.max(1, variant.rows / 8),
        STEP_QUADS: variant.stepQuads,
        STEP_WORDS: Math.max(1, variant.stepQuads / quads),
        LONG_FINISH: longFinish ? 1 : 0,
      };
    case "ranges":
      return { ROWS: variant.rows, WORDS: Math.max(1, 4 / quads) };
    case "tiled":
      return TILED;
    case "bytes":
      return byteFormats[format]!;
    case "bytes_ranges":
      return { ROWS: variant.rows, WORDS: 8 / quads, ...byteFormats[format] };
    case "bytes_split":
      return {
        ROWS: variant.rows,
        THREADS: variant.threads,
        LANES: SPLIT_LANES,
        PAIRS: variant.pairs,
        SUMS: Math.min(variant.rows * variant.pairs, 8),
        WORDS: 8 / quads,
        ...byteFormats[format],
      };
    case "split":
      return {
        ROWS: variant.rows,
        THREADS: SPLIT_THREADS,
        LANES: SPLIT_LANES,
        PAIRS: variant.pairs,
        BATCHED: variant.rows > 1 ? 1 : 0,
        SUMS: variant.rows > 1 ? 8 : variant.pairs,
      };
  }
}

/** What puts an operand's rows where `operandBytes` says: dispatch it before the products, with `across` workgroups for each row. */
export interface QuantisedRows {
  call: KernelCall;
  across: number;
  /** Whether it writes the scales of normalised rows as well. */
  scales: boolean;
}

/** Compiles it. Cost: one read of the rows, or two where they are normalised. */
export async function compileQuantiseRows(
  gpu: Gpu,
  { label, matrix, input }: LinearOptions,
  bytes: OperandBytes,
): Promise<QuantisedRows> {
  const normed = input.kind !== "plain";
  const entry = normed ? "quantise_normed_rows" : "quantise_rows";
  const fragments = shaderFragments(
    ...(normed ? ["dense/rms_wide"] as const : []),
    "dense/quantise_block",
    `dense/${entry}`,
  );
  const pipeline = await gpu.pipelines.get(assembleShader(`${label} operand`, fragments), entry, {
    K_QUADS: matrix.columns / 128,
    INPUT_QUADS_PER_ROW: input.quadsPerRow,
    ...(normed ? { NORM_WIDTH: input.width, NORM_EPSILON: input.epsilon } : {}),
  });
  const call = bindKernel(gpu, pipeline, {
    operand: bytes.words,
    operand_line: bytes.lines,
    ...inputBindings(input, true),
  });
  return { call, across: normed ? 1 : ceilDiv(matrix.columns / 32, 64), scales: normed };
}

function byteFragments(input: LinearInput): ShaderPath[] {
  return [
    "dense/operand_bytes",
    input.kind === "plain" ? "dense/scale_none" : "dense/scale_stored",
  ];
}

function byteBindings(input: LinearInput, { words, lines }: OperandBytes): Bindings {
  return {
    operand: words,
    operand_line: lines,
    ...(input.kind === "plain" ? {} : { row_scale: input.rowScale }),
  };
}

function inputFragments(input: LinearInput, storedNorm: boolean): ShaderPath[] {
  switch (input.kind) {
    case "plain":
      return ["dense/input_plain"];
    case "norm":
      return storedNorm ? ["dense/input_norm_stored"] : ["dense/input_norm", "dense/rms"];
    case "sampled":
      return storedNorm ? ["dense/input_sampled_stored"] : ["dense/input_sampled", "dense/rms"];
  }
}

function inputBindings(input: LinearInput, storedNorm: boolean): Bindings {
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
      return {
        input: input.buffer,
        gain: input.gain,
        samples: input.samples,
        ...(storedNorm ? { row_scale: input.rowScale } : {}),
      };
  }
}
