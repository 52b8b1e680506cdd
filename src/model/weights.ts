import { roundUp } from "../common/math.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { COLUMN_MULTIPLE, type WeightMatrix } from "../kernels/weight_matrix.ts";
import type { ModelConfig } from "./config.ts";
import { LONG_ROPE_FACTORS, ROPE_FACTORS } from "./rope_factors.ts";
import { checkTensors } from "./tensor_table.ts";
import { type RowSource, uploadMatrix, uploadParts, uploadPlain } from "./upload_matrix.ts";

/** One layer's weights. */
export interface LayerWeights {
  attentionNorm: HeldVector;
  /** Query, key and value projections in one matrix, every head padded. */
  qkv: WeightMatrix;
  /** f32 per row of `qkv`, where the model has biases. */
  qkvBias: HeldVector | undefined;
  /** Gains of the norms of query heads, then of key heads, each of a padded head's size, where the model has them. */
  headGains: HeldVector | undefined;
  attentionOutput: WeightMatrix;
  outputBias: HeldVector | undefined;
  feedForwardNorm: HeldVector;
  /** Gains of what attention and feed-forward yield, where the model normalises it. */
  postNorms: { attention: HeldVector; feedForward: HeldVector } | undefined;
  /** relu2: the up projection; gated: gate and up, interleaved row by row. */
  up: WeightMatrix;
  down: WeightMatrix;
}

/** Gains or biases, padded to whole tiles. */
export interface HeldVector {
  buffer: GPUBuffer;
  values: Float32Array<ArrayBuffer>;
}

/** A model's weights. */
export interface ModelWeights {
  /** By token, the rows of each part after those of the one before. */
  embedding: readonly WeightMatrix[];
  layers: LayerWeights[];
  outputNorm: HeldVector;
  /** Gains of the last norm, of the model's width, as the file has them. */
  outputGains: Float32Array;
  /** By token, in parts; those of the embedding itself when tied. */
  output: readonly WeightMatrix[];
  /** Divisors of RoPE's frequencies, when the file has them. */
  ropeFactors: Float32Array | undefined;
  /** Divisors of RoPE's frequencies for contexts up to the original length and beyond it, where `rope.long` tells them apart. */
  longRopeFactors: { short: Float32Array; long: Float32Array } | undefined;
}

/** Progress of loading: layers done of all. */
export type LoadProgress = (done: number, total: number) => void;

/** A head's dimension as kernels hold it. */
export function paddedHeadDim(headDim: number): number {
  return headDim <= 64 ? 64 : headDim <= 128 ? 128 : 256;
}

/** The dimension of a head in the file that becomes dimension `dim` of queries and keys on the GPU, where pairs are neighbours. */
export function rotarySource(
  { rotaryPairs, rope }: Pick<ModelConfig, "rotaryPairs" | "rope">,
  dim: number,
): number {
  if (rotaryPairs === "neighbours" || dim >= rope.dimensions) return dim;
  return (dim % 2) * (rope.dimensions / 2) + (dim >> 1);
}

/**
 * Loads a model's weights, checking every tensor's shape against the configuration.
 *
 * @param native whether the native library computes the layers
 * @throws `ModelFormatError` for an absent, misshapen or unknown tensor; `OutOfMemoryError` when they do not fit.
 */
export function loadWeights(
  gpu: Gpu,
  file: GgufFile,
  config: ModelConfig,
  onProgress?: LoadProgress,
  native = false,
): ModelWeights {
  const target = { gpu, native };
  const { heads, kvHeads, headDim, hidden } = config;
  const padded = paddedHeadDim(headDim);
  checkTensors(file, config);
  const floats = (name: string) => file.readFloats(file.tensor(name));
  const vector = (label: string, values: Float32Array<ArrayBuffer>): HeldVector => ({
    buffer: gpu.buffers.upload(label, values),
    values,
  });
  const paddedFloats = (name: string, length: number) => {
    const values = new Float32Array(length);
    values.set(floats(name));
    return vector(name, values);
  };
  const norm = (name: string, divisor = 1): HeldVector => {
    const gains = new Float32Array(roundUp(config.width, COLUMN_MULTIPLE));
    gains.set(floats(name).map((gain) => gain / divisor));
    return vector(name, gains);
  };
  const total = config.layers + 2;
  const embedding = uploadParts(target, file, "token_embd.weight");
  onProgress?.(1, total);

  const headRow = (row: number): RowSource => {
    const head = Math.floor(row / padded);
    const dim = row % padded;
    if (dim >= headDim) return undefined;
    const source = head < heads + kvHeads ? rotarySource(config, dim) : dim;
    if (config.fused) return { tensor: 0, row: head * headDim + source };
    if (head < heads) return { tensor: 0, row: head * headDim + source };
    const kv = head - heads;
    if (kv < kvHeads) return { tensor: 1, row: kv * headDim + source };
    return { tensor: 2, row: (kv - kvHeads) * headDim + source };
  };
  const qkvRows = (heads + 2 * kvHeads) * padded;
  const qkvBias = (layer: number, length: number) => {
    const tensors = ["q", "k", "v"].map((part) => floats(`blk.${layer}.attn_${part}.bias`));
    const bias = new Float32Array(length);
    for (let row = 0; row < qkvRows; row++) {
      const source = headRow(row);
      if (source) bias[row] = tensors[source.tensor][source.row];
    }
    return vector(`blk.${layer}.qkv.bias`, bias);
  };
  const headGains = (layer: number) => {
    const gains = new Float32Array(2 * padded);
    ["q", "k"].forEach((part, i) => {
      const gain = floats(`blk.${layer}.attn_${part}_norm.weight`);
      for (let dim = 0; dim < headDim; dim++) {
        gains[i * padded + dim] = gain[rotarySource(config, dim)];
      }
    });
    return vector(`blk.${layer}.head gains`, gains);
  };
  const layers = Array.from({ length: config.layers }, (_, layer): LayerWeights => {
    const name = (part: string) => `blk.${layer}.${part}.weight`;
    const up = name("ffn_up");
    const qkv = uploadMatrix(
      target,
      file,
      `blk.${layer}.qkv`,
      config.fused ? [name("attn_qkv")] : [name("attn_q"), name("attn_k"), name("attn_v")],
      qkvRows,
      headRow,
    );
    const attentionOutput = uploadPlain(target, file, name("attn_output"));
    const result: LayerWeights = {
      attentionNorm: norm(name("attn_norm")),
      qkv,
      qkvBias: config.attentionBias ? qkvBias(layer, qkv.rows) : undefined,
      headGains: config.headNorm ? headGains(layer) : undefined,
      attentionOutput,
      outputBias: config.outputBias
        ? paddedFloats(`blk.${layer}.attn_output.bias`, attentionOutput.rows)
        : undefined,
      feedForwardNorm: norm(name("ffn_norm")),
      postNorms: config.postNorms
        ? {
          attention: norm(name("post_attention_norm")),
          feedForward: norm(name("post_ffw_norm")),
        }
        : undefined,
      up: config.feedForward === "relu2" ? uploadPlain(target, file, up) : uploadMatrix(
        target,
        file,
        `blk.${layer}.gate_up`,
        // A tensor that holds both is named twice: rows are taken from its halves in turn, and each name is read in windows of its own.
        [config.fused ? up : name("ffn_gate"), up],
        2 * hidden,
        (row) => ({ tensor: row % 2, row: (config.fused ? row % 2 * hidden : 0) + (row >> 1) }),
      ),
      down: uploadPlain(target, file, name("ffn_down")),
    };
    onProgress?.(layer + 2, total);
    return result;
  });
  const weights: ModelWeights = {
    embedding,
    layers,
    // Logits are a product with what this norm yields: dividing its gains divides them.
    outputNorm: norm("output_norm.weight", config.logitDivisor),
    outputGains: floats("output_norm.weight"),
    output: config.tiedEmbeddings ? embedding : uploadParts(target, file, "output.weight"),
    ropeFactors: file.tensors.has(ROPE_FACTORS) ? floats(ROPE_FACTORS) : undefined,
    longRopeFactors: config.rope.long && {
      short: floats(LONG_ROPE_FACTORS.short),
      long: floats(LONG_ROPE_FACTORS.long),
    },
  };
  onProgress?.(total, total);
  return weights;
}
