import { ModelFormatError } from "../common/errors.ts";
import { roundUp } from "../common/math.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { COLUMN_MULTIPLE, type WeightMatrix } from "../kernels/weight_matrix.ts";
import type { ModelConfig } from "./config.ts";
import { type RowSource, uploadMatrix, uploadPlain } from "./upload_matrix.ts";

/** One layer's weights on the GPU. */
export interface LayerWeights {
  attentionNorm: GPUBuffer;
  /** Query, key and value projections in one matrix, every head padded. */
  qkv: WeightMatrix;
  attentionOutput: WeightMatrix;
  feedForwardNorm: GPUBuffer;
  /** relu2: the up projection; swiglu: gate and up, interleaved row by row. */
  up: WeightMatrix;
  down: WeightMatrix;
}

/** A model's weights on the GPU. */
export interface ModelWeights {
  embedding: WeightMatrix;
  layers: LayerWeights[];
  outputNorm: GPUBuffer;
  /** The embedding matrix itself when tied. */
  output: WeightMatrix;
  /** Divisors of RoPE's frequencies, when the file has them. */
  ropeFactors: Float32Array | undefined;
}

/** Progress of loading: layers done of all. */
export type LoadProgress = (done: number, total: number) => void;

/** A head's dimension as kernels hold it. */
export function paddedHeadDim(headDim: number): number {
  return headDim <= 64 ? 64 : headDim <= 128 ? 128 : 256;
}

/**
 * Loads a model's weights, checking every tensor's shape against the configuration.
 * @throws {ModelFormatError} for an absent or misshapen tensor; `OutOfMemoryError` when they do not fit.
 */
export function loadWeights(
  gpu: Gpu,
  file: GgufFile,
  config: ModelConfig,
  onProgress?: LoadProgress,
): ModelWeights {
  const { width, heads, kvHeads, headDim, hidden } = config;
  const padded = paddedHeadDim(headDim);
  const expect = (name: string, shape: number[]) => {
    const tensor = file.tensor(name);
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      throw new ModelFormatError(`${file.name}: ${name} is [${tensor.shape}], expected [${shape}]`);
    }
    return name;
  };
  const norm = (name: string) => {
    const gain = new Float32Array(roundUp(width, COLUMN_MULTIPLE));
    gain.set(file.readFloats(file.tensor(expect(name, [width]))));
    return gpu.buffers.upload(name, gain);
  };
  const total = config.layers + 2;
  const embedding = uploadPlain(gpu, file, "token_embd.weight");
  onProgress?.(1, total);

  const headRow = (row: number): RowSource => {
    const head = Math.floor(row / padded);
    const dim = row % padded;
    if (dim >= headDim) return undefined;
    if (head < heads) return { tensor: 0, row: head * headDim + dim };
    const kv = head - heads;
    return { tensor: kv < kvHeads ? 1 : 2, row: (kv % kvHeads) * headDim + dim };
  };
  const layers = Array.from({ length: config.layers }, (_, layer): LayerWeights => {
    const name = (part: string) => `blk.${layer}.${part}.weight`;
    const query = expect(name("attn_q"), [width, heads * headDim]);
    const key = expect(name("attn_k"), [width, kvHeads * headDim]);
    const value = expect(name("attn_v"), [width, kvHeads * headDim]);
    const up = expect(name("ffn_up"), [width, hidden]);
    const result: LayerWeights = {
      attentionNorm: norm(name("attn_norm")),
      qkv: uploadMatrix(
        gpu,
        file,
        `blk.${layer}.qkv`,
        [query, key, value],
        (heads + 2 * kvHeads) * padded,
        headRow,
      ),
      attentionOutput: uploadPlain(
        gpu,
        file,
        expect(name("attn_output"), [heads * headDim, width]),
      ),
      feedForwardNorm: norm(name("ffn_norm")),
      up: config.feedForward === "relu2" ? uploadPlain(gpu, file, up) : uploadMatrix(
        gpu,
        file,
        `blk.${layer}.gate_up`,
        [expect(name("ffn_gate"), [width, hidden]), up],
        2 * hidden,
        (row) => ({ tensor: row % 2, row: row >> 1 }),
      ),
      down: uploadPlain(gpu, file, expect(name("ffn_down"), [hidden, width])),
    };
    onProgress?.(layer + 2, total);
    return result;
  });
  const weights: ModelWeights = {
    embedding,
    layers,
    outputNorm: norm("output_norm.weight"),
    output: config.tiedEmbeddings
      ? embedding
      : uploadPlain(gpu, file, expect("output.weight", [width, config.vocabulary])),
    ropeFactors: file.tensors.has("rope_freqs.weight")
      ? file.readFloats(file.tensor("rope_freqs.weight"))
      : undefined,
  };
  onProgress?.(total, total);
  return weights;
}
