import type { GgufFile } from "../formats/gguf.ts";
import { ModelFormatError } from "../common/errors.ts";

/** Feed-forward of a layer: gated (SwiGLU) in llama, a plain squared ReLU in arcee. */
export type FeedForwardKind = "swiglu" | "relu2";

/** What a decoder-only transformer is, from GGUF metadata. */
export interface ModelConfig {
  architecture: "llama" | "arcee";
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
  /** Longest context the model was made for, in tokens. */
  contextLength: number;
  normEpsilon: number;
  rope: RopeConfig;
  /** Whether the output projection is the embedding matrix. */
  tiedEmbeddings: boolean;
}

/** Rotary position embedding. */
export interface RopeConfig {
  base: number;
  /** Leading dimensions of a head that are rotated, in adjacent pairs. */
  dimensions: number;
  /** Positions are divided by this (linear scaling); 1 for none. */
  scale: number;
}

const architectures: Record<string, FeedForwardKind> = { llama: "swiglu", arcee: "relu2" };

/**
 * Reads and checks the shape of a model.
 * @throws {ModelFormatError} naming the field, its value and what was expected.
 */
export function readModelConfig(file: GgufFile): ModelConfig {
  const { metadata, name } = file;
  const architecture = metadata.string("general.architecture");
  const feedForward = architectures[architecture];
  if (!feedForward) {
    throw new ModelFormatError(
      `${name}: general.architecture is ${JSON.stringify(architecture)}, expected ${
        Object.keys(architectures).join(" or ")
      }`,
    );
  }
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
  return {
    architecture: architecture as ModelConfig["architecture"],
    feedForward,
    layers: integer("block_count", 1024),
    width,
    heads,
    kvHeads,
    headDim,
    hidden: integer("feed_forward_length", 1 << 20),
    vocabulary,
    contextLength: integer("context_length", 1 << 27),
    normEpsilon: metadata.number(key("attention.layer_norm_rms_epsilon")),
    rope: readRope(file, key, headDim),
    tiedEmbeddings: !file.tensors.has("output.weight"),
  };
}

function readRope(
  { metadata }: GgufFile,
  key: (field: string) => string,
  headDim: number,
): RopeConfig {
  const scaling = metadata.string(key("rope.scaling.type"), "none");
  if (scaling !== "none" && scaling !== "linear") {
    throw metadata.error(key("rope.scaling.type"), '"none" or "linear"');
  }
  const factor = metadata.number(
    key("rope.scaling.factor"),
    metadata.number(key("rope.scale_linear"), 1),
  );
  const dimensions = metadata.integer(key("rope.dimension_count"), 2, headDim, headDim);
  if (dimensions % 2 !== 0) throw metadata.error(key("rope.dimension_count"), "an even number");
  return {
    base: metadata.number(key("rope.freq_base"), 10000),
    dimensions,
    scale: factor > 0 ? factor : 1,
  };
}
