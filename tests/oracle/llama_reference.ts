/**
 * A plain f64 forward pass of llama-shaped models, one position at a time, written to be read against the papers:
 * RMSNorm (Zhang and Sennrich 2019), rotary positions (Su et al. 2021) on neighbouring pairs or, for qwen2, qwen3, phi3 and gemma3, on pairs half of
 * the rotated dimensions apart, with LongRoPE (Ding et al. 2024) in phi3, biases (qwen2) and norms of heads (qwen3 and gemma3, Henry et al. 2020),
 * grouped-query attention (Ainslie et al. 2023), SwiGLU or, for gemma3, GeGLU (Shazeer 2020) or, for arcee, ReLU² (So et al. 2021) feed-forward. In gemma3
 * (Gemma Team 2025) most layers see a window of the last tokens (Beltagy et al. 2020), and what a layer adds is normalised. In smollm3 every fourth
 * layer does not rotate (Yang et al. 2025), and granite scales embeddings, what a layer adds, scores and logits (Yang et al. 2022).
 * It is the oracle that the GPU engine is tested against.
 * @module
 */

import type { GgufFile } from "../../src/formats/gguf.ts";

/** A row-major weight matrix, `rows` outputs of `columns` inputs. */
interface Matrix {
  rows: number;
  columns: number;
  values: Float32Array;
}

/** Biases of the four projections of attention; absent ones are undefined. */
type Biases = Record<"query" | "key" | "value" | "output", Float32Array | undefined>;

interface Layer {
  attentionNorm: Float32Array;
  biases: Biases;
  /** Gains of a query head's and a key head's norm; only in qwen3 and gemma3. */
  queryNorm?: Float32Array;
  keyNorm?: Float32Array;
  query: Matrix;
  key: Matrix;
  value: Matrix;
  attentionOutput: Matrix;
  feedForwardNorm: Float32Array;
  /** Absent in arcee. */
  gate?: Matrix;
  up: Matrix;
  down: Matrix;
  /** Gains of the norms of what attention and feed-forward add; only in gemma3. */
  postAttentionNorm?: Float32Array;
  postFeedForwardNorm?: Float32Array;
  /** Whether it sees a window of `ReferenceModel.local` only; default false. */
  local?: boolean;
  /** Whether queries and keys stay as they are; only in smollm3. */
  unrotated?: boolean;
}

/** Architectures that the reference knows. */
export type ReferenceArchitecture =
  | "llama"
  | "arcee"
  | "qwen2"
  | "qwen3"
  | "phi3"
  | "gemma3"
  | "smollm3"
  | "granite";

/** A model's shape and weights, dequantised to f32. */
export interface ReferenceModel {
  architecture: ReferenceArchitecture;
  dim: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Leading dimensions of a head that are rotated. */
  ropeDim: number;
  /** Whether dimension i is rotated with i + ropeDim / 2, instead of with its neighbour. */
  ropeHalves: boolean;
  ropeBase: number;
  /** Positions are divided by this (linear scaling); 1 for none. */
  ropeScale: number;
  /** Divides each pair's frequency; all 1 unless the model brings some. */
  ropeFactors: Float32Array;
  /** Factor of cos and sin; default 1. */
  ropeMagnitude?: number;
  /** How many tokens a local layer sees, the query's own among them, and the base of its rotations, which are not scaled. */
  local?: { tokens: number; ropeBase: number };
  /** Factor of dots of queries and keys; default 1 / √headDim. */
  scoreScale?: number;
  /** Factor of embeddings as input; default 1. */
  embeddingScale?: number;
  /** Factor of what attention and feed-forward add; default 1. */
  residualScale?: number;
  /** Divides logits; default 1. */
  logitScale?: number;
  epsilon: number;
  vocabulary: number;
  embedding: Matrix;
  layers: Layer[];
  outputNorm: Float32Array;
  /** The embedding again when the file has no `output.weight`. */
  output: Matrix;
}

/**
 * Reads a `llama`, `arcee`, `qwen2`, `qwen3`, `phi3`, `gemma3`, `smollm3` or `granite` model whose weights are F32, F16, BF16 or Q8_0.
 *
 * @param context tokens that it is run on, which LongRoPE goes by; default those that the file gives
 */
export function loadReferenceModel(file: GgufFile, context?: number): ReferenceModel {
  const { metadata } = file;
  const known = [
    "llama",
    "arcee",
    "qwen2",
    "qwen3",
    "phi3",
    "gemma3",
    "smollm3",
    "granite",
  ] as const;
  const found = metadata.string("general.architecture");
  const architecture = known.find((name) => name === found);
  if (!architecture) {
    throw new TypeError(
      `${file.name}: architecture is ${found}, expected one of ${known.join(", ")}`,
    );
  }
  const integer = (key: string, otherwise?: number) =>
    metadata.integer(`${architecture}.${key}`, 1, 1 << 24, otherwise);
  const number = (key: string, otherwise?: number) =>
    metadata.number(`${architecture}.${key}`, otherwise);
  const vector = (name: string) => file.readFloats(file.tensor(name));
  const optional = (name: string) => file.tensors.has(name) ? vector(name) : undefined;
  const matrix = (name: string): Matrix => {
    const tensor = file.tensor(name);
    return { rows: tensor.shape[1], columns: tensor.shape[0], values: file.readFloats(tensor) };
  };

  // Rows of a tensor that holds several projections.
  const part = (name: string, from: number, rows: number): Matrix => {
    const { columns, values } = matrix(name);
    return { rows, columns, values: values.subarray(from * columns, (from + rows) * columns) };
  };

  const fused = architecture === "phi3";
  const dim = integer("embedding_length");
  const heads = integer("attention.head_count");
  const headDim = integer("attention.key_length", dim / heads);
  const ropeDim = integer("rope.dimension_count", headDim);
  const scaling = metadata.string(`${architecture}.rope.scaling.type`, "none");
  if (scaling !== "none" && scaling !== "linear") {
    throw new TypeError(`${file.name}: RoPE scaling is ${scaling}, expected none or linear`);
  }
  const embedding = matrix("token_embd.weight");
  const kvHeads = integer("attention.head_count_kv", heads);
  const hidden = fused ? integer("feed_forward_length") : 0;
  const long = optional("rope_factors_long.weight");
  const beyond = long !== undefined && (context ?? integer("context_length")) >
      integer("rope.scaling.original_context_length", 1 << 24);
  const layers = integer("block_count");
  const gemma = architecture === "gemma3";
  const granite = architecture === "granite";
  const window = gemma ? integer("attention.sliding_window", 1 << 24) : undefined;
  const pattern = integer("attention.sliding_window_pattern", 6);
  return {
    architecture,
    dim,
    heads,
    kvHeads,
    headDim,
    ropeDim,
    ropeHalves: architecture.startsWith("qwen") || architecture === "phi3" || gemma,
    ropeBase: number("rope.freq_base", 10000),
    ropeScale: scaling === "linear" ? number("rope.scaling.factor", 1) : 1,
    ropeFactors: optional("rope_freqs.weight") ??
      (long && (beyond ? long : vector("rope_factors_short.weight"))) ??
      new Float32Array(ropeDim / 2).fill(1),
    ropeMagnitude: long && number("rope.scaling.attn_factor"),
    local: window ? { tokens: window, ropeBase: number("rope.freq_base_swa", 10000) } : undefined,
    // Of Gemma 3 only the largest, with 62 layers, has heads of another size than it scales for.
    scoreScale: gemma && layers === 62
      ? 1 / Math.sqrt(dim / heads)
      : granite
      ? number("attention.scale", 1 / Math.sqrt(headDim))
      : undefined,
    embeddingScale: gemma ? Math.sqrt(dim) : granite ? number("embedding_scale", 1) : undefined,
    residualScale: granite ? number("residual_scale", 1) : undefined,
    logitScale: granite ? number("logit_scale", 1) : undefined,
    epsilon: number("attention.layer_norm_rms_epsilon"),
    vocabulary: embedding.rows,
    embedding,
    layers: Array.from({ length: layers }, (_, l) => ({
      attentionNorm: vector(`blk.${l}.attn_norm.weight`),
      biases: {
        query: optional(`blk.${l}.attn_q.bias`),
        key: optional(`blk.${l}.attn_k.bias`),
        value: optional(`blk.${l}.attn_v.bias`),
        output: optional(`blk.${l}.attn_output.bias`),
      },
      queryNorm: optional(`blk.${l}.attn_q_norm.weight`),
      keyNorm: optional(`blk.${l}.attn_k_norm.weight`),
      ...(fused
        ? {
          query: part(`blk.${l}.attn_qkv.weight`, 0, heads * headDim),
          key: part(`blk.${l}.attn_qkv.weight`, heads * headDim, kvHeads * headDim),
          value: part(
            `blk.${l}.attn_qkv.weight`,
            (heads + kvHeads) * headDim,
            kvHeads * headDim,
          ),
          gate: part(`blk.${l}.ffn_up.weight`, 0, hidden),
          up: part(`blk.${l}.ffn_up.weight`, hidden, hidden),
        }
        : {
          query: matrix(`blk.${l}.attn_q.weight`),
          key: matrix(`blk.${l}.attn_k.weight`),
          value: matrix(`blk.${l}.attn_v.weight`),
          gate: architecture === "arcee" ? undefined : matrix(`blk.${l}.ffn_gate.weight`),
          up: matrix(`blk.${l}.ffn_up.weight`),
        }),
      attentionOutput: matrix(`blk.${l}.attn_output.weight`),
      feedForwardNorm: vector(`blk.${l}.ffn_norm.weight`),
      down: matrix(`blk.${l}.ffn_down.weight`),
      postAttentionNorm: gemma ? vector(`blk.${l}.post_attention_norm.weight`) : undefined,
      postFeedForwardNorm: gemma ? vector(`blk.${l}.post_ffw_norm.weight`) : undefined,
      local: gemma && l % pattern !== pattern - 1,
      unrotated: architecture === "smollm3" && l % 4 === 3,
    })),
    outputNorm: vector("output_norm.weight"),
    output: file.tensors.has("output.weight") ? matrix("output.weight") : embedding,
  };
}

/** x · weight / √(mean(x²) + ε). */
export function rmsNorm(x: Float64Array, weight: ArrayLike<number>, epsilon: number): Float64Array {
  let squares = 0;
  for (const v of x) squares += v * v;
  const scale = 1 / Math.sqrt(squares / x.length + epsilon);
  return x.map((v, i) => v * scale * weight[i]);
}

/** The product of `matrix` and the column `x`. */
export function multiply(matrix: Matrix, x: Float64Array): Float64Array {
  const { rows, columns, values } = matrix;
  const y = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0, at = r * columns; c < columns; c++, at++) sum += values[at] * x[c];
    y[r] = sum;
  }
  return y;
}

/**
 * Rotates each head's leading pairs, (2i, 2i + 1) or (i, i + ropeDim / 2), of `x` by their angle at `position`, in place.
 *
 * @param local as a local layer does; default false
 */
export function rotate(
  model: ReferenceModel,
  x: Float64Array,
  position: number,
  local = false,
): void {
  const base = local ? model.local!.ropeBase : model.ropeBase;
  const scale = local ? 1 : model.ropeScale;
  for (let head = 0; head < x.length; head += model.headDim) {
    for (let pair = 0; pair < model.ropeDim / 2; pair++) {
      const frequency = base ** (-2 * pair / model.ropeDim) / model.ropeFactors[pair];
      const angle = position / scale * frequency;
      const i = head + (model.ropeHalves ? pair : 2 * pair);
      const j = model.ropeHalves ? i + model.ropeDim / 2 : i + 1;
      const [a, b] = [x[i], x[j]].map((value) => value * (model.ropeMagnitude ?? 1));
      x[i] = a * Math.cos(angle) - b * Math.sin(angle);
      x[j] = a * Math.sin(angle) + b * Math.cos(angle);
    }
  }
}

/** Softmax attention of `query` (heads × headDim) over keys and values (each kvHeads × headDim). */
export function attend(
  model: ReferenceModel,
  query: Float64Array,
  keys: Float64Array[],
  values: Float64Array[],
): Float64Array {
  const { heads, kvHeads, headDim, scoreScale = 1 / Math.sqrt(headDim) } = model;
  const out = new Float64Array(heads * headDim);
  for (let h = 0; h < heads; h++) {
    const kv = Math.floor(h / (heads / kvHeads)) * headDim;
    const scores = keys.map((key) => {
      let dot = 0;
      for (let i = 0; i < headDim; i++) dot += query[h * headDim + i] * key[kv + i];
      return dot * scoreScale;
    });
    const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    const weights = scores.map((s) => Math.exp(s - largest));
    const total = weights.reduce((a, b) => a + b, 0);
    values.forEach((value, t) => {
      for (let i = 0; i < headDim; i++) out[h * headDim + i] += weights[t] / total * value[kv + i];
    });
  }
  return out;
}

/** The activation of a gate: that of GELU's approximation by tanh (Hendrycks and Gimpel 2016) in gemma3, SiLU elsewhere. */
function activate(architecture: ReferenceArchitecture, x: number): number {
  if (architecture !== "gemma3") return x / (1 + Math.exp(-x));
  return x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

function feedForward(
  { architecture }: ReferenceModel,
  layer: Layer,
  x: Float64Array,
): Float64Array {
  const up = multiply(layer.up, x);
  if (!layer.gate) return multiply(layer.down, up.map((v) => Math.max(v, 0) ** 2));
  const gate = multiply(layer.gate, x);
  return multiply(layer.down, up.map((v, i) => v * activate(architecture, gate[i])));
}

function addTo(x: Float64Array, y: Float64Array, scale = 1): void {
  for (let i = 0; i < x.length; i++) x[i] += y[i] * scale;
}

/** The product of `matrix` and the column `x`, with `bias` if there is one. */
function project(matrix: Matrix, x: Float64Array, bias: Float32Array | undefined): Float64Array {
  const y = multiply(matrix, x);
  return bias ? y.map((v, i) => v + bias[i]) : y;
}

/** RMSNorm of every head of `x` by itself, if there is a gain for it. */
function normHeads(
  x: Float64Array,
  gain: Float32Array | undefined,
  epsilon: number,
): Float64Array {
  if (!gain) return x;
  const heads = x.length / gain.length;
  return Float64Array.from(
    Array.from(
      { length: heads },
      (
        _,
        head,
      ) => [...rmsNorm(x.slice(head * gain.length, (head + 1) * gain.length), gain, epsilon)],
    ).flat(),
  );
}

/** Runs a model token by token, keeping keys and values. */
export class ReferenceDecoder {
  readonly #model: ReferenceModel;
  /** Per layer, one entry per position: keys, rotated unless the layer does not; values. */
  readonly keys: Float64Array[][];
  readonly values: Float64Array[][];

  constructor(model: ReferenceModel) {
    this.#model = model;
    this.keys = model.layers.map(() => []);
    this.values = model.layers.map(() => []);
  }

  /** Logits (one per vocabulary entry) for what follows `token` at the next position. */
  step(token: number): Float64Array {
    const model = this.#model;
    const position = this.keys[0].length;
    if (!Number.isInteger(token) || token < 0 || token >= model.vocabulary) {
      throw new RangeError(`token is ${token}, expected 0 to ${model.vocabulary - 1}`);
    }
    const x = Float64Array.from(
      model.embedding.values.subarray(token * model.dim, (token + 1) * model.dim),
      (value) => value * (model.embeddingScale ?? 1),
    );
    const post = (y: Float64Array, gain: Float32Array | undefined) =>
      gain ? rmsNorm(y, gain, model.epsilon) : y;
    model.layers.forEach((layer, l) => {
      const input = rmsNorm(x, layer.attentionNorm, model.epsilon);
      const { biases } = layer;
      const query = normHeads(
        project(layer.query, input, biases.query),
        layer.queryNorm,
        model.epsilon,
      );
      const key = normHeads(project(layer.key, input, biases.key), layer.keyNorm, model.epsilon);
      if (!layer.unrotated) {
        rotate(model, query, position, layer.local);
        rotate(model, key, position, layer.local);
      }
      this.keys[l].push(key);
      this.values[l].push(project(layer.value, input, biases.value));
      const first = layer.local ? Math.max(0, position + 1 - model.local!.tokens) : 0;
      const attended = attend(
        model,
        query,
        this.keys[l].slice(first),
        this.values[l].slice(first),
      );
      addTo(
        x,
        post(project(layer.attentionOutput, attended, biases.output), layer.postAttentionNorm),
        model.residualScale,
      );
      const inner = rmsNorm(x, layer.feedForwardNorm, model.epsilon);
      addTo(
        x,
        post(feedForward(model, layer, inner), layer.postFeedForwardNorm),
        model.residualScale,
      );
    });
    const logits = multiply(model.output, rmsNorm(x, model.outputNorm, model.epsilon));
    return logits.map((logit) => logit / (model.logitScale ?? 1));
  }
}

/** Logits after each of `tokens`, a sequence from position 0. */
export function referenceForward(model: ReferenceModel, tokens: readonly number[]): Float64Array[] {
  const decoder = new ReferenceDecoder(model);
  return tokens.map((token) => decoder.step(token));
}

/** The `count` tokens that greedy decoding appends to `prompt`; on a tie the smallest id. Stops after an end token. */
export function referenceGreedy(
  model: ReferenceModel,
  prompt: readonly number[],
  count: number,
  endTokens: ReadonlySet<number> = new Set(),
): number[] {
  const decoder = new ReferenceDecoder(model);
  let logits: Float64Array = new Float64Array(0);
  for (const token of prompt) logits = decoder.step(token);
  const out: number[] = [];
  while (out.length < count) {
    let best = 0;
    for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
    out.push(best);
    if (endTokens.has(best) || out.length === count) break;
    logits = decoder.step(best);
  }
  return out;
}
