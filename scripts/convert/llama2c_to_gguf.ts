/**
 * Converts a llama2.c checkpoint (the headerless `.bin` of karpathy/llama2.c, version 0) and its `tokenizer.bin` to
 * GGUF:
 *
 *     deno run -A scripts/convert/llama2c_to_gguf.ts --checkpoint stories260K.bin --tokenizer tok512.bin \
 *       --out stories260K.gguf [--type f32|f16|q8_0]
 *
 * llama2.c rotates neighbouring pairs of a head, as GGUF's `llama` does, so the weights keep their order.
 * @module
 */

import { parseArgs } from "@std/cli";
import { basename } from "@std/path";
import { ModelFormatError } from "../../src/common/errors.ts";
import { ByteReader } from "../../src/formats/byte_reader.ts";
import { type ByteSource, FileSource } from "../../src/formats/file_source.ts";
import { encodeGguf, type GgufInput, type GgufTensorInput } from "../../src/formats/gguf_writer.ts";
import { spaceMark, TokenType } from "../../src/tokenizer/vocab.ts";

type WeightType = "F32" | "F16" | "Q8_0";
const fileTypes: Record<WeightType, number> = { F32: 0, F16: 1, Q8_0: 7 };

interface Config {
  dim: number;
  hidden: number;
  layers: number;
  heads: number;
  kvHeads: number;
  vocabulary: number;
  /** Whether the output projection is the embedding table (llama2.c marks the opposite by a negative vocabulary). */
  tied: boolean;
  context: number;
}

function readConfig(reader: ByteReader): Config {
  const field = (name: string, max: number) => {
    const value = reader.i32(name);
    if (value < 1 || value > max) throw reader.error(name, `${value}`, `1 to ${max}`);
    return value;
  };
  const dim = field("dim", 1 << 16);
  const hidden = field("hidden_dim", 1 << 18);
  const layers = field("n_layers", 1024);
  const heads = field("n_heads", 1024);
  const kvHeads = field("n_kv_heads", heads);
  const signed = reader.i32("vocab_size");
  const vocabulary = Math.abs(signed);
  if (vocabulary < 1 || vocabulary > 1 << 20) {
    throw reader.error("vocab_size", `${signed}`, "1 to 2^20 in magnitude");
  }
  const context = field("seq_len", 1 << 24);
  if (dim % heads !== 0 || heads % kvHeads !== 0) {
    throw reader.error(
      "heads",
      `${heads} of ${kvHeads} for dim ${dim}`,
      "dim a multiple of heads, heads of kv heads",
    );
  }
  return { dim, hidden, layers, heads, kvHeads, vocabulary, tied: signed > 0, context };
}

/** The tensors of a checkpoint, each layer's cut out of llama2.c's stacks. */
export function readCheckpoint(
  source: ByteSource,
  type: WeightType,
): { config: Config; tensors: GgufTensorInput[] } {
  const reader = new ByteReader(source);
  const config = readConfig(reader);
  const { dim, hidden, layers, heads, kvHeads, vocabulary, tied, context } = config;
  const kvDim = dim / heads * kvHeads;
  const floats = (count: number, field: string) =>
    new Float32Array(reader.bytes(4 * count, field).slice().buffer as ArrayBuffer);
  const tensors: GgufTensorInput[] = [];
  const add = (name: string, shape: number[]) => {
    const values = floats(shape.reduce((a, n) => a * n, 1), name);
    const norm = shape.length === 1;
    // Q8_0 needs rows of whole blocks; rows of another length stay in f16.
    const fits = type !== "Q8_0" || shape[0] % 32 === 0;
    tensors.push({ name, shape, type: norm ? "F32" : fits ? type : "F16", values });
  };
  const addLayers = (name: string, shape: number[]) => {
    for (let l = 0; l < layers; l++) add(`blk.${l}.${name}.weight`, shape);
  };
  add("token_embd.weight", [dim, vocabulary]);
  addLayers("attn_norm", [dim]);
  addLayers("attn_q", [dim, dim]);
  addLayers("attn_k", [dim, kvDim]);
  addLayers("attn_v", [dim, kvDim]);
  addLayers("attn_output", [dim, dim]);
  addLayers("ffn_norm", [dim]);
  addLayers("ffn_gate", [dim, hidden]);
  addLayers("ffn_down", [hidden, dim]);
  addLayers("ffn_up", [dim, hidden]);
  add("output_norm.weight", [dim]);
  // Tables of cosines and sines, which every reader computes for itself.
  floats(context * (dim / heads), "freq_cis");
  if (!tied) add("output.weight", [dim, vocabulary]);
  if (reader.remaining !== 0) {
    throw reader.error("file", `${reader.remaining} bytes longer`, "the weights to end it");
  }
  return { config, tensors };
}

/** The vocabulary metadata of a `tokenizer.bin`: `<unk>`, `<s>`, `</s>`, 256 byte tokens, then pieces with scores. */
export function readTokenizer(source: ByteSource, vocabulary: number): Record<string, GgufInput> {
  const reader = new ByteReader(source);
  reader.i32("max_token_length");
  const tokens: string[] = [];
  const scores = new Float32Array(vocabulary);
  const types = new Int32Array(vocabulary).fill(TokenType.normal);
  const firstPiece = 3 + 256;
  for (let id = 0; id < vocabulary; id++) {
    scores[id] = reader.f32(`score of token ${id}`);
    const length = reader.i32(`length of token ${id}`);
    if (length < 0 || length > 1024) {
      throw reader.error(`length of token ${id}`, `${length}`, "0 to 1024");
    }
    const text = reader.utf8(length, `token ${id}`);
    if (id < 3) {
      tokens.push(["<unk>", "<s>", "</s>"][id]);
      types[id] = id === 0 ? TokenType.unknown : TokenType.control;
    } else if (id < firstPiece) {
      const expected = `<0x${(id - 3).toString(16).toUpperCase().padStart(2, "0")}>`;
      if (text !== expected) throw reader.error(`token ${id}`, JSON.stringify(text), expected);
      tokens.push(text);
      types[id] = TokenType.byte;
    } else {
      tokens.push(text.replaceAll(" ", spaceMark));
    }
  }
  if (reader.remaining !== 0) {
    throw reader.error(
      "file",
      `${reader.remaining} bytes longer`,
      `${vocabulary} tokens to end it`,
    );
  }
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.scores": scores,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.bos_token_id": { type: "uint32", value: 1 },
    "tokenizer.ggml.eos_token_id": { type: "uint32", value: 2 },
    "tokenizer.ggml.unknown_token_id": { type: "uint32", value: 0 },
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.ggml.add_eos_token": false,
  };
}

/** The GGUF file for a checkpoint and its tokenizer. */
export function llama2cToGguf(
  checkpoint: ByteSource,
  tokenizer: ByteSource,
  { type = "F32", name = "llama2.c" }: { type?: WeightType; name?: string } = {},
): Uint8Array<ArrayBuffer> {
  const { config, tensors } = readCheckpoint(checkpoint, type);
  const u32 = (value: number): GgufInput => ({ type: "uint32", value });
  const f32 = (value: number): GgufInput => ({ type: "float32", value });
  return encodeGguf({
    metadata: {
      "general.architecture": "llama",
      "general.name": name,
      "general.file_type": u32(fileTypes[type]),
      "llama.context_length": u32(config.context),
      "llama.embedding_length": u32(config.dim),
      "llama.block_count": u32(config.layers),
      "llama.feed_forward_length": u32(config.hidden),
      "llama.attention.head_count": u32(config.heads),
      "llama.attention.head_count_kv": u32(config.kvHeads),
      "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
      "llama.rope.dimension_count": u32(config.dim / config.heads),
      "llama.rope.freq_base": f32(10000),
      "llama.vocab_size": u32(config.vocabulary),
      ...readTokenizer(tokenizer, config.vocabulary),
    },
    tensors,
  });
}

function main(): void {
  const args = parseArgs(Deno.args, { string: ["checkpoint", "tokenizer", "out", "type"] });
  const { checkpoint, tokenizer, out } = args;
  const type = String(args.type ?? "f32").toUpperCase();
  if (
    typeof checkpoint !== "string" || typeof tokenizer !== "string" || typeof out !== "string" ||
    !(type in fileTypes)
  ) {
    console.error(
      "usage: llama2c_to_gguf.ts --checkpoint MODEL.bin --tokenizer TOK.bin --out MODEL.gguf [--type f32|f16|q8_0]",
    );
    Deno.exit(2);
  }
  try {
    using model = FileSource.open(checkpoint);
    using vocabulary = FileSource.open(tokenizer);
    const name = basename(checkpoint, ".bin");
    const bytes = llama2cToGguf(model, vocabulary, { type: type as WeightType, name });
    Deno.writeFileSync(out, bytes);
    console.log(`${out}: ${bytes.length} bytes`);
  } catch (error) {
    if (!(error instanceof ModelFormatError) && !(error instanceof Deno.errors.NotFound)) {
      throw error;
    }
    console.error(error.message);
    Deno.exit(1);
  }
}

if (import.meta.main) main();
