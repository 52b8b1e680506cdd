import { Rng } from "../../../src/common/rng.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";
import type { ByteSource } from "../../../src/formats/file_source.ts";
import { encodeGgufHeader, type GgufInput } from "../../../src/formats/gguf_writer.ts";
import { ggmlTypeByName } from "../../../src/formats/gguf_blocks.ts";

/** A llama's shape. */
export interface LlamaShape {
  layers: number;
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  hidden: number;
  vocabulary: number;
  contextLength: number;
}

/** Llama 3 8B. */
export const llama3Shape: LlamaShape = {
  layers: 32,
  width: 4096,
  heads: 32,
  kvHeads: 8,
  headDim: 128,
  hidden: 14336,
  vocabulary: 128256,
  contextLength: 131072,
};

/** Halves at the start of a block that keep activations of Llama 3 8B's width near 1: the scale, and a minimum that centres the weights. */
const starts = {
  Q8_0: [0x00, 0x18],
  Q4_K: [0x00, 0x10, 0x00, 0x1c],
};

/** A GGUF file that exists only as arithmetic: matrices of seeded noise, norms of 1. For timing a shape without its gigabytes. */
export function syntheticLlama(shape: LlamaShape, type: keyof typeof starts = "Q8_0"): GgufFile {
  const { layers, width, heads, kvHeads, headDim, hidden, vocabulary, contextLength } = shape;
  const integer = (value: number): GgufInput => ({ type: "uint32", value });
  const float = (value: number): GgufInput => ({ type: "float32", value });
  const metadata = {
    "general.architecture": "llama",
    "llama.block_count": integer(layers),
    "llama.embedding_length": integer(width),
    "llama.attention.head_count": integer(heads),
    "llama.attention.head_count_kv": integer(kvHeads),
    "llama.attention.key_length": integer(headDim),
    "llama.attention.value_length": integer(headDim),
    "llama.feed_forward_length": integer(hidden),
    "llama.context_length": integer(contextLength),
    "llama.attention.layer_norm_rms_epsilon": float(1e-5),
    "llama.rope.freq_base": float(500000),
    "llama.rope.dimension_count": integer(headDim),
  };
  const matrix = (name: string, rows: number, columns: number) => ({
    name,
    shape: [columns, rows],
    type: type as string,
  });
  const norm = (name: string) => ({ name, shape: [width], type: "F32" });
  const tensors = [
    matrix("token_embd.weight", vocabulary, width),
    ...Array.from({ length: layers }, (_, layer) => {
      const name = (part: string) => `blk.${layer}.${part}.weight`;
      return [
        norm(name("attn_norm")),
        matrix(name("attn_q"), heads * headDim, width),
        matrix(name("attn_k"), kvHeads * headDim, width),
        matrix(name("attn_v"), kvHeads * headDim, width),
        matrix(name("attn_output"), width, heads * headDim),
        norm(name("ffn_norm")),
        matrix(name("ffn_gate"), hidden, width),
        matrix(name("ffn_up"), hidden, width),
        matrix(name("ffn_down"), width, hidden),
      ];
    }).flat(),
    norm("output_norm.weight"),
    matrix("output.weight", vocabulary, width),
  ];
  const { header, offsets, dataLength } = encodeGgufHeader(metadata, tensors);
  const block = ggmlTypeByName(type).bytes;
  // One window of noise serves everywhere. Its length in blocks is prime, so that of a matrix start at the same place of it
  // and queries have as many dimensions as a head.
  const noise = new Uint8Array(block * 4099);
  const rng = new Rng(11);
  for (let at = 0; at < 65536; at++) noise[at] = rng.integer(256);
  for (let at = 65536; at < noise.length; at += 65536) {
    noise.copyWithin(at, 0, Math.min(65536, noise.length - at));
  }
  for (let at = 0; at < noise.length; at += block) noise.set(starts[type], at);
  const ones = new Uint8Array(new Float32Array(width).fill(1).buffer);
  const source: ByteSource = {
    name: "synthetic",
    size: header.length + dataLength,
    read(offset, into) {
      if (offset < header.length) {
        into.set(header.subarray(offset, offset + into.length));
        return;
      }
      const at = offset - header.length;
      let low = 0;
      for (let high = offsets.length; high - low > 1;) {
        const middle = (low + high) >> 1;
        if (offsets[middle] <= at) low = middle;
        else high = middle;
      }
      const pattern = tensors[low].type === "F32" ? ones : noise;
      let from = (at - offsets[low]) % pattern.length;
      for (let to = 0; to < into.length;) {
        const count = Math.min(pattern.length - from, into.length - to);
        into.set(pattern.subarray(from, from + count), to);
        to += count;
        from = 0;
      }
    },
    [Symbol.dispose]() {},
  };
  return GgufFile.read(source);
}
