import { Rng } from "../../src/common/rng.ts";
import { ggmlTypeByName } from "../../src/formats/gguf_blocks.ts";
import { encodeGguf, type GgufInput, type GgufTensorInput } from "../../src/formats/gguf_writer.ts";
import { isQuantized } from "../../src/formats/quantized_blocks.ts";
import type { ReferenceArchitecture } from "../oracle/llama_reference.ts";
import { randomBlocks } from "./random_blocks.ts";

/** What a random model is. */
export interface RandomModelShape {
  architecture: ReferenceArchitecture;
  /** Whether the projections of attention, output included, have biases. */
  biases?: boolean;
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  hidden: number;
  vocabulary: number;
  rotated: number;
  scale: number;
  tied: boolean;
  /** Types of matrices by their names without layer, F16 and Q8_0 in turn where it says nothing. */
  types?: Record<string, string>;
}

/** A model of random weights, whose matrices are of different types where their widths allow. */
export function randomModel(shape: RandomModelShape): Uint8Array<ArrayBuffer> {
  const { architecture, width, heads, kvHeads, headDim, hidden, vocabulary, rotated, scale } =
    shape;
  const rng = new Rng(width);
  const u32 = (value: number): GgufInput => ({ type: "uint32", value });
  const f32 = (value: number): GgufInput => ({ type: "float32", value });
  const tensors: GgufTensorInput[] = [];
  const add = (name: string, type: "F32" | "F16" | "Q8_0", ...dims: number[]) => {
    const count = dims.reduce((a, b) => a * b);
    const other = shape.types?.[name.replace(/^blk\.\d+\./, "")];
    if (other) {
      const known = ggmlTypeByName(other);
      if (!isQuantized(known)) throw new TypeError(`${other}: expected a quantised type`);
      const bytes = randomBlocks(known.name, count, rng, 1 / Math.sqrt(dims[0]));
      tensors.push({ name: `${name}.weight`, shape: dims, type: other, bytes });
      return;
    }
    const values = dims.length > 1
      ? rng.normals(count, 1 / Math.sqrt(dims[0]))
      : rng.normals(count, 0.2).map((x) => x + 1);
    const fits = type !== "Q8_0" || dims[0] % 32 === 0;
    tensors.push({ name: `${name}.weight`, shape: dims, type: fits ? type : "F16", values });
  };
  const bias = (name: string, count: number) =>
    tensors.push({ name: `${name}.bias`, shape: [count], type: "F32", values: rng.normals(count) });
  add("token_embd", "F16", width, vocabulary);
  for (let layer = 0; layer < 2; layer++) {
    const at = (part: string) => `blk.${layer}.${part}`;
    add(at("attn_norm"), "F32", width);
    // Query, key and value of different types: the GPU's one matrix is then f32.
    add(at("attn_q"), "F16", width, heads * headDim);
    add(at("attn_k"), layer ? "F16" : "F32", width, kvHeads * headDim);
    add(at("attn_v"), "F16", width, kvHeads * headDim);
    add(at("attn_output"), "Q8_0", heads * headDim, width);
    add(at("ffn_norm"), "F32", width);
    if (shape.biases) {
      bias(at("attn_q"), heads * headDim);
      bias(at("attn_k"), kvHeads * headDim);
      bias(at("attn_v"), kvHeads * headDim);
      if (architecture === "llama") bias(at("attn_output"), width);
    }
    if (architecture === "qwen3") {
      add(at("attn_q_norm"), "F32", headDim);
      add(at("attn_k_norm"), "F32", headDim);
    }
    if (architecture !== "arcee") add(at("ffn_gate"), "Q8_0", width, hidden);
    add(at("ffn_up"), "Q8_0", width, hidden);
    add(at("ffn_down"), "F16", hidden, width);
  }
  add("output_norm", "F32", width);
  if (!shape.tied) add("output", "Q8_0", width, vocabulary);
  add("rope_freqs", "F32", rotated / 2);
  const key = (name: string) => `${architecture}.${name}`;
  return encodeGguf({
    metadata: {
      "general.architecture": architecture,
      [key("embedding_length")]: u32(width),
      [key("block_count")]: u32(2),
      [key("context_length")]: u32(512),
      [key("feed_forward_length")]: u32(hidden),
      [key("attention.head_count")]: u32(heads),
      [key("attention.head_count_kv")]: u32(kvHeads),
      [key("attention.key_length")]: u32(headDim),
      [key("attention.value_length")]: u32(headDim),
      [key("attention.layer_norm_rms_epsilon")]: f32(1e-5),
      [key("rope.dimension_count")]: u32(rotated),
      [key("rope.freq_base")]: f32(10000),
      [key("rope.scaling.type")]: scale === 1 ? "none" : "linear",
      [key("rope.scaling.factor")]: f32(scale),
    },
    tensors,
  });
}
