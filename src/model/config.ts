import type { GgufFile } from "../formats/gguf.ts";
import { ModelFormatError } from "../common/errors.ts";
import { readRope, type RopeConfig } from "./rope_config.ts";

/** Feed-forward of a layer: gated (SwiGLU, or GeGLU in gemma3), or a plain squared ReLU in arcee. */
export type FeedForwardKind = "swiglu" | "geglu" | "relu2";

/**
 * How a file pairs the rotated dimensions of a head: each with its neighbour, or `i` with `i + dimensions / 2`. The GPU pairs neighbours,
 * so the rows of the latter are reordered as they are loaded.
 */
export type RotaryPairs = "neighbours" | "halves";

/** How the hidden states of a text's tokens become one vector: their mean, or that of the first or the last token. */
export type Pooling = "mean" | "first" | "last";

/** By `pooling_type` of GGUF, as llama.cpp numbers them; a rank is of a text beside another, and no vector. */
const poolings = [undefined, "mean", "first", "last", "rank"] as const;

/** What tells the supported architectures apart. */
interface Architecture {
  feedForward: FeedForwardKind;
  rotaryPairs: RotaryPairs;
  /** Whether query, key and value projections have biases: `maybe` if the file brings them. */
  attentionBias: "never" | "maybe" | "always";
  headNorm: boolean;
  /** Whether query, key and value projections are one tensor, and gate and up projections another. Default false. */
  fused?: boolean;
  /** Whether what attention and feed-forward add to the residual stream is normalised, and embeddings grow by the root of the width. Default false. */
  sandwiched?: boolean;
  /**
   * Where a file names a window: of so many layers the last sees all of the context all the same, or all layers have it. Default `none`: it is not
   * known which layers are meant.
   */
  windows?: number | "all" | "none";
  /** Of so many layers the last does not rotate queries and keys. Default: all do. */
  unrotatedPattern?: number;
  /** Whether the file scales embeddings, scores, what layers add and logits. Default false. */
  scaled?: boolean;
}

const architectures = {
  llama: {
    feedForward: "swiglu",
    rotaryPairs: "neighbours",
    attentionBias: "maybe",
    headNorm: false,
  },
  arcee: {
    feedForward: "relu2",
    rotaryPairs: "neighbours",
    attentionBias: "never",
    headNorm: false,
  },
  qwen2: { feedForward: "swiglu", rotaryPairs: "halves", attentionBias: "always", headNorm: false },
  qwen3: { feedForward: "swiglu", rotaryPairs: "halves", attentionBias: "never", headNorm: true },
  phi3: {
    feedForward: "swiglu",
    rotaryPairs: "halves",
    attentionBias: "never",
    headNorm: false,
    fused: true,
    windows: "all",
  },
  gemma3: {
    feedForward: "geglu",
    rotaryPairs: "halves",
    attentionBias: "never",
    headNorm: true,
    sandwiched: true,
    windows: 6,
  },
  smollm3: {
    feedForward: "swiglu",
    rotaryPairs: "neighbours",
    attentionBias: "never",
    headNorm: false,
    unrotatedPattern: 4,
  },
  granite: {
    feedForward: "swiglu",
    rotaryPairs: "neighbours",
    attentionBias: "maybe",
    headNorm: false,
    scaled: true,
  },
} satisfies Record<string, Architecture>;

/** What a decoder-only transformer is, from GGUF metadata. */
export interface ModelConfig {
  architecture: keyof typeof architectures;
  feedForward: FeedForwardKind;
  layers: number;
  /** Width of the residual stream. */
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Width of the feed-forward. */
  hidden: number;
  vocabulary: number;
  /** Longest context the model was made for, in tokens; with YaRN, that it scales to. */
  contextLength: number;
  normEpsilon: number;
  rope: RopeConfig;
  rotaryPairs: RotaryPairs;
  /** Whether query, key and value projections have biases. */
  attentionBias: boolean;
  /** Whether the projection of attention's output has one. */
  outputBias: boolean;
  /** Whether every query and key head is RMS-normalised before RoPE. */
  headNorm: boolean;
  /** Whether the file holds query, key and value projections in one tensor, and gate and up projections in another. */
  fused: boolean;
  /** Whether the output projection is the embedding matrix. */
  tiedEmbeddings: boolean;
  /** Whether what attention and feed-forward yield is RMS-normalised before it is added to the residual stream. */
  postNorms: boolean;
  /** Factor of embeddings as input. */
  embeddingScale: number;
  /** Factor of scores before the softmax. */
  queryScale: number;
  /** Factor of what attention and feed-forward add to the residual stream. */
  residualScale: number;
  /** What logits are divided by. */
  logitDivisor: number;
  /** Of so many layers the last does not rotate queries and keys (NoPE: Yang et al. 2025, Rope to Nope and Back Again); 0 when all do. */
  unrotatedPattern: number;
  /** How the file says that texts are pooled; undefined where it does not. */
  pooling: Pooling | "rank" | undefined;
  /** Layers that see a part of the context only; undefined when there are none. */
  window: AttentionWindow | undefined;
}

/** Sliding-window attention (Beltagy et al. 2020; in turn with full attention: Gemma 3 report, section 2). */
export interface AttentionWindow {
  /** Latest tokens that a token sees, itself included. */
  tokens: number;
  /** Of so many layers the last sees everything; 0 when none does. */
  pattern: number;
  /** RoPE of these layers. */
  rope: RopeConfig;
}

/** The window of a layer, from 0 on; undefined when it sees everything. */
export function layerWindow(
  { window }: Pick<ModelConfig, "window">,
  layer: number,
): AttentionWindow | undefined {
  if (!window) return undefined;
  const { pattern } = window;
  return pattern > 0 && layer % pattern === pattern - 1 ? undefined : window;
}

/**
 * Reads and checks the shape of a model.
 * @throws {ModelFormatError} naming the field, its value and what was expected.
 */
export function readModelConfig(file: GgufFile): ModelConfig {
  const { metadata, name } = file;
  if (metadata.integer("split.count", 0, 1 << 16, 0) > 1) {
    throw metadata.error("split.count", "1: join the parts of a model (llama-gguf-split --merge)");
  }
  const architecture = readArchitecture(file);
  const {
    feedForward,
    rotaryPairs,
    attentionBias,
    headNorm,
    fused = false,
    sandwiched = false,
    windows = "none",
    unrotatedPattern = 0,
    scaled = false,
  }: Architecture = architectures[architecture];
  const windowPattern = typeof windows === "number" ? windows : 0;
  const key = (field: string) => `${architecture}.${field}`;
  const integer = (field: string, max: number, otherwise?: number) =>
    metadata.integer(key(field), 1, max, otherwise);
  const width = integer("embedding_length", 1 << 16);
  const heads = integer("attention.head_count", 1024);
  const kvHeads = integer("attention.head_count_kv", 1024, heads);
  if (heads % kvHeads !== 0) {
    throw metadata.error(key("attention.head_count_kv"), `a divisor of ${heads} heads`);
  }
  const headDim = integer("attention.key_length", 256, Math.floor(width / heads));
  if (headDim % 4 !== 0) {
    throw metadata.error(key("attention.key_length"), `a multiple of 4 (it is ${headDim})`);
  }
  if (integer("attention.value_length", 256, headDim) !== headDim) {
    throw metadata.error(key("attention.value_length"), `the key length ${headDim}`);
  }
  if (!metadata.boolean(key("attention.causal"), true)) {
    throw metadata.error(key("attention.causal"), "true: a text is made from its beginning on");
  }
  const experts = metadata.integer(key("expert_count"), 0, 1 << 16, 0);
  if (experts > 0) {
    throw metadata.error(key("expert_count"), "0: mixtures of experts are not supported");
  }
  const embedding = file.tensor("token_embd.weight");
  const vocabulary = embedding.shape[1];
  if (embedding.shape.length !== 2 || embedding.shape[0] !== width) {
    throw new ModelFormatError(
      `${name}: token_embd.weight is [${embedding.shape}], expected [${width}, vocabulary]`,
    );
  }
  const tokens = metadata.get("tokenizer.ggml.tokens");
  if (Array.isArray(tokens) && tokens.length > vocabulary) {
    throw metadata.error(
      "tokenizer.ggml.tokens",
      `at most ${vocabulary}, the rows of token_embd.weight`,
    );
  }
  const { rope, contextLength } = readRope(
    file,
    architecture,
    headDim,
    integer("context_length", 1 << 27),
  );
  for (const cap of ["attn_logit_softcapping", "final_logit_softcapping"]) {
    if (metadata.number(key(cap), 0) !== 0) {
      throw metadata.error(key(cap), "0: soft caps are not supported");
    }
  }
  const windowTokens = windowPattern > 0
    ? integer("attention.sliding_window", 2 ** 32 - 1)
    : metadata.integer(key("attention.sliding_window"), 0, 2 ** 32 - 1, 0);
  // Layers whose window hides nothing may still rotate in a way of their own.
  const windowed = windowPattern > 0 || windowTokens > 0 && windowTokens < contextLength;
  if (windowed && windows === "none") {
    throw metadata.error(
      key("attention.sliding_window"),
      `0 or at least the context of ${contextLength} tokens: which layers of ${architecture} it is for is not said`,
    );
  }
  const layers = integer("block_count", 1024);
  const localBase = metadata.number(key("rope.freq_base_swa"), 10000);
  if (!(localBase > 0)) throw metadata.error(key("rope.freq_base_swa"), "a number above 0");
  /** A factor that a file of an architecture with scales may name. */
  const scale = (field: string, otherwise: number): number => {
    const value = metadata.number(key(field), otherwise);
    // Files hold single precision.
    if (!scaled && Math.abs(value / otherwise - 1) > 1e-6) {
      throw metadata.error(key(field), `${otherwise}: ${architecture} has no such scale`);
    }
    if (!scaled) return otherwise;
    if (!(value > 0 && value < 1e6)) throw metadata.error(key(field), "a number above 0");
    return value;
  };
  // Files do not say it: of Gemma 3 only the largest, of 62 layers, scales by what its heads would have of its width.
  const usualScale = (architecture === "gemma3" && layers === 62 ? width / heads : headDim) ** -0.5;
  const normEpsilon = metadata.number(key("attention.layer_norm_rms_epsilon"));
  // Shaders have it in single precision.
  if (!(normEpsilon >= 0 && Math.fround(normEpsilon) < Infinity)) {
    throw metadata.error(
      key("attention.layer_norm_rms_epsilon"),
      "a number of at least 0 that single precision holds",
    );
  }
  const brings = (...parts: string[]) =>
    parts.some((part) => file.tensors.has(`blk.0.${part}.bias`));
  return {
    architecture,
    feedForward,
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    hidden: integer("feed_forward_length", 1 << 20),
    vocabulary,
    contextLength,
    normEpsilon,
    rope,
    rotaryPairs,
    attentionBias: attentionBias === "always" ||
      attentionBias === "maybe" && brings("attn_q", "attn_k", "attn_v"),
    outputBias: attentionBias === "maybe" && brings("attn_output"),
    headNorm,
    fused,
    tiedEmbeddings: !file.tensors.has("output.weight"),
    postNorms: sandwiched,
    embeddingScale: scale("embedding_scale", sandwiched ? Math.sqrt(width) : 1),
    queryScale: scale("attention.scale", usualScale),
    residualScale: scale("residual_scale", 1),
    logitDivisor: scale("logit_scale", 1),
    // In granite files the field says whether positions are rotated at all.
    unrotatedPattern: scaled && !metadata.boolean(key("rope.scaling.finetuned"), true)
      ? 1
      : unrotatedPattern,
    pooling: poolings[metadata.integer(key("pooling_type"), 0, poolings.length - 1, 0)],
    window: windowed
      ? {
        tokens: windowTokens,
        pattern: metadata.integer(key("attention.sliding_window_pattern"), 0, 1024, windowPattern),
        // Layers with a window keep the frequencies that they were trained with when others are scaled for longer contexts.
        rope: windowPattern > 0
          ? {
            base: localBase,
            dimensions: rope.dimensions,
            scale: 1,
          }
          : rope,
      }
      : undefined,
  };
}

function readArchitecture({ metadata, name }: GgufFile): ModelConfig["architecture"] {
  const architecture = metadata.string("general.architecture");
  const known = Object.keys(architectures) as ModelConfig["architecture"][];
  const found = known.find((candidate) => candidate === architecture);
  if (found) return found;
  const expected = `${known.slice(0, -1).join(", ")} or ${known.at(-1)}`;
  throw new ModelFormatError(
    `${name}: general.architecture is ${JSON.stringify(architecture)}, expected ${expected}`,
  );
}
