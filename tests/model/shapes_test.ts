import { Rng } from "../../src/common/rng.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf, type GgufInput, type GgufTensorInput } from "../../src/formats/gguf_writer.ts";
import {
  loadReferenceModel,
  type ReferenceArchitecture,
  referenceForward,
} from "../oracle/llama_reference.ts";
import { assertClose } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpus = {
  lanes: await openTestGpu({ kernels: "lanes" }),
  wide: await openTestGpu({ kernels: "wide" }),
};

interface Shape {
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
}

/** A model of random weights, whose matrices are of different types where their widths allow. */
function randomModel(shape: Shape): Uint8Array<ArrayBuffer> {
  const { architecture, width, heads, kvHeads, headDim, hidden, vocabulary, rotated, scale } =
    shape;
  const rng = new Rng(width);
  const u32 = (value: number): GgufInput => ({ type: "uint32", value });
  const f32 = (value: number): GgufInput => ({ type: "float32", value });
  const tensors: GgufTensorInput[] = [];
  const add = (name: string, type: "F32" | "F16" | "Q8_0", ...dims: number[]) => {
    const count = dims.reduce((a, b) => a * b);
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

const shapes: Shape[] = [
  {
    architecture: "llama",
    biases: true,
    width: 52,
    heads: 6,
    kvHeads: 2,
    headDim: 20,
    hidden: 100,
    vocabulary: 77,
    rotated: 12,
    scale: 4,
    tied: false,
  },
  {
    architecture: "qwen2",
    biases: true,
    width: 60,
    heads: 4,
    kvHeads: 1,
    headDim: 28,
    hidden: 72,
    vocabulary: 90,
    rotated: 16,
    scale: 2,
    tied: true,
  },
  {
    architecture: "qwen3",
    width: 68,
    heads: 6,
    kvHeads: 3,
    headDim: 80,
    hidden: 56,
    vocabulary: 81,
    rotated: 40,
    scale: 1,
    tied: false,
  },
  {
    architecture: "arcee",
    width: 160,
    heads: 3,
    kvHeads: 1,
    headDim: 96,
    hidden: 130,
    vocabulary: 65,
    rotated: 96,
    scale: 1,
    tied: true,
  },
];

for (const shape of shapes) {
  for (const family of ["lanes", "wide"] as const) {
    const { architecture, heads, kvHeads, headDim, width } = shape;
    const what = `${architecture}, width ${width}, ${heads} heads of ${headDim} on ${kvHeads}`;
    gpuTest(
      `Transformer agrees with the f64 reference at sizes that no tile divides: ${what}, ${family} kernels`,
      async () => {
        const bytes = randomModel(shape);
        const rng = new Rng(5);
        const tokens = Array.from({ length: 75 }, () => rng.integer(shape.vocabulary));
        using file = GgufFile.read(bytes);
        const expected = referenceForward(loadReferenceModel(file), tokens);
        const under = await ModelUnderTest.load(gpus[family], file, "f32");
        const sequence = new TestSequence(0, [2, 1]);
        const logits = [tokens.slice(0, 70), tokens.slice(70)].flatMap((part) =>
          under.step([sequence.prefill(part)], { everyRow: true }).logits
        );
        logits.forEach((row, i) => assertClose(row, expected[i], 2e-5, `position ${i}`));
      },
    );
  }
}
