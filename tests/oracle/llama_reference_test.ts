import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf, type GgufTensorInput } from "../../src/formats/gguf_writer.ts";
import { readNpy } from "../../src/formats/npy.ts";
import {
  attend,
  loadReferenceModel,
  multiply,
  type ReferenceArchitecture,
  ReferenceDecoder,
  referenceForward,
  referenceGreedy,
  type ReferenceModel,
  rmsNorm,
  rotate,
} from "./llama_reference.ts";

function close(actual: ArrayLike<number>, expected: number[], tolerance = 1e-12): void {
  assertEquals(actual.length, expected.length);
  expected.forEach((v, i) => assertAlmostEquals(actual[i], v, tolerance));
}

const u32 = (value: number) => ({ type: "uint32" as const, value });
const f32 = (value: number) => ({ type: "float32" as const, value });

/**
 * One layer, two dimensions, one head, weights by hand: attention adds the mean of the values, see the test. Biases are those of value and
 * output; keys and queries do not matter where there is one position.
 *
 * @param more numbers of its metadata
 */
function handModel(
  architecture: ReferenceArchitecture,
  more: Record<string, number> = {},
): ReferenceModel {
  const t = (name: string, shape: number[], values: number[]): GgufTensorInput => ({
    name,
    shape,
    type: "F32",
    values: Float32Array.from(values),
  });
  const identity = [1, 0, 0, 1];
  const tensors = [
    t("token_embd.weight", [2, 3], [3, 4, 1, 0, 0, 1]),
    t("blk.0.attn_norm.weight", [2], [1, 1]),
    t("blk.0.attn_q.weight", [2, 2], [0, 0, 0, 0]),
    t("blk.0.attn_k.weight", [2, 2], identity),
    t("blk.0.attn_v.weight", [2, 2], identity),
    t("blk.0.attn_output.weight", [2, 2], identity),
    t("blk.0.ffn_norm.weight", [2], [1, 1]),
    t("blk.0.ffn_up.weight", [2, 2], [1, 0, -1, 0]),
    t("blk.0.ffn_down.weight", [2, 2], identity),
    t("output_norm.weight", [2], [1, 2]),
    ...(architecture === "arcee" ? [] : [t("blk.0.ffn_gate.weight", [2, 2], [0, 1, 0, 1])]),
    ...(architecture === "qwen2"
      ? [t("blk.0.attn_v.bias", [2], [3, 0]), t("blk.0.attn_output.bias", [2], [0, 4])]
      : []),
    ...(architecture === "gemma3"
      ? [
        t("blk.0.post_attention_norm.weight", [2], [1, 1]),
        t("blk.0.post_ffw_norm.weight", [2], [2, 3]),
      ]
      : []),
  ];
  const key = (name: string) => `${architecture}.${name}`;
  return loadReferenceModel(GgufFile.read(encodeGguf({
    metadata: {
      "general.architecture": architecture,
      [key("embedding_length")]: u32(2),
      [key("block_count")]: u32(1),
      [key("attention.head_count")]: u32(1),
      [key("attention.layer_norm_rms_epsilon")]: f32(0),
      [key("rope.freq_base")]: f32(10000),
      ...(architecture === "gemma3" ? { [key("attention.sliding_window")]: u32(2) } : {}),
      ...Object.fromEntries(Object.entries(more).map(([name, value]) => [key(name), f32(value)])),
    },
    tensors,
  })));
}

Deno.test("rmsNorm divides by the root of the mean square", () => {
  close(rmsNorm(Float64Array.of(3, 4), [1, 2], 0), [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)]);
  close(rmsNorm(Float64Array.of(0, 0), [1, 1], 1e-5), [0, 0]);
});

Deno.test("multiply takes row-major weights", () => {
  const matrix = { rows: 2, columns: 3, values: Float32Array.of(1, 2, 3, 4, 5, 6) };
  close(multiply(matrix, Float64Array.of(1, 10, 100)), [321, 654]);
});

Deno.test("rotate turns neighbouring pairs by position times their frequency, and leaves the rest of a head", () => {
  const model = {
    headDim: 6,
    ropeDim: 4,
    ropeHalves: false,
    ropeBase: 100,
    ropeScale: 1,
    ropeFactors: Float32Array.of(1, 1),
  };
  const x = Float64Array.of(1, 0, 1, 0, 7, 8);
  rotate(model as ReferenceModel, x, 3);
  // Frequencies 100^0 = 1 and 100^(-1/2) = 0.1.
  close(x, [Math.cos(3), Math.sin(3), Math.cos(0.3), Math.sin(0.3), 7, 8]);
  const scaled = Float64Array.of(1, 0, 1, 0, 7, 8);
  rotate(
    { ...model, ropeScale: 2, ropeFactors: Float32Array.of(1, 5) } as ReferenceModel,
    scaled,
    4,
  );
  close(scaled, [Math.cos(2), Math.sin(2), Math.cos(0.04), Math.sin(0.04), 7, 8]);
  const halves = Float64Array.of(1, 0, 0, 1, 7, 8);
  rotate({ ...model, ropeHalves: true } as ReferenceModel, halves, 3);
  close(halves, [Math.cos(3), -Math.sin(0.3), Math.sin(3), Math.cos(0.3), 7, 8]);
});

Deno.test("ReferenceDecoder normalises every query and key head by itself, in qwen3", () => {
  const model = handModel("qwen3");
  const [layer] = model.layers;
  layer.keyNorm = Float32Array.of(2, 3);
  const decoder = new ReferenceDecoder(model);
  decoder.step(0);
  // The key is (3, 4) / √12.5 = x, whose norm is x again; position 0 does not rotate.
  close(decoder.keys[0][0], [6 / Math.sqrt(12.5), 12 / Math.sqrt(12.5)], 1e-12);
});

Deno.test("attend weighs values by softmax of scaled dots, heads sharing their group's keys", () => {
  const model = { heads: 2, kvHeads: 1, headDim: 1 } as ReferenceModel;
  const keys = [Float64Array.of(0), Float64Array.of(Math.log(3))];
  const values = [Float64Array.of(10), Float64Array.of(20)];
  // Head 0 sees weights 1/4 and 3/4; head 1, with query 0, 1/2 and 1/2.
  close(attend(model, Float64Array.of(1, 0), keys, values), [17.5, 15]);
});

Deno.test("rotate turns as a local layer does by that base, and unscaled", () => {
  const model = {
    headDim: 4,
    ropeDim: 4,
    ropeHalves: true,
    ropeBase: 100,
    ropeScale: 8,
    ropeFactors: Float32Array.of(1, 1),
    local: { tokens: 2, ropeBase: 10000 },
  } as ReferenceModel;
  const x = Float64Array.of(1, 1, 0, 0);
  rotate(model, x, 3, true);
  // Frequencies 1 and 10000^(-1/2) = 0.01.
  close(x, [Math.cos(3), Math.cos(0.03), Math.sin(3), Math.sin(0.03)]);
  const global = Float64Array.of(1, 1, 0, 0);
  rotate(model, global, 4);
  close(global, [Math.cos(0.5), Math.cos(0.05), Math.sin(0.5), Math.sin(0.05)]);
});

Deno.test("ReferenceDecoder grows embeddings, keeps to a window and normalises what a layer adds, in gemma3", () => {
  const model = handModel("gemma3");
  const [layer] = model.layers;
  assertEquals([layer.local, model.local], [true, { tokens: 2, ropeBase: 10000 }]);
  const r = Math.sqrt(12.5);
  const root = Math.SQRT2;
  // The query is 0, so attention gives the mean of the values in sight: at first x / r, which its norm leaves as it is.
  const a = [3 * root + 3 / r, 4 * root + 4 / r];
  const gate = 4 / r;
  const activated = gate / 2 *
    (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3)));
  // The feed-forward gives (1, -1) times this, whose norm is (1, -1), and the gain (2, 3).
  assertEquals(activated * 3 / r > 0, true);
  const y = [a[0] + 2, a[1] - 3];
  const scale = 1 / Math.sqrt((y[0] ** 2 + y[1] ** 2) / 2);
  const [n0, n1] = [y[0] * scale, 2 * y[1] * scale];
  const decoder = new ReferenceDecoder(model);
  close(decoder.step(0), [3 * n0 + 4 * n1, n0, n1], 1e-9);
  // At the third token the first is out of sight: another first token changes nothing.
  const others = new ReferenceDecoder(model);
  others.step(1);
  assertEquals(
    [1, 2].map((token) => decoder.step(token))[1],
    [1, 2].map((token) => others.step(token))[1],
  );
  layer.local = false;
  const [seen, unlike] = [[0, 1, 2], [1, 1, 2]].map((tokens) => referenceForward(model, tokens)[2]);
  assertEquals(seen.some((logit, i) => Math.abs(logit - unlike[i]) > 0.01), true);
});

Deno.test("ReferenceDecoder scales embeddings, what a layer adds, scores and logits, in granite", () => {
  const model = handModel("granite", {
    "embedding_scale": 2,
    "residual_scale": 0.5,
    "attention.scale": 0.25,
    "logit_scale": 4,
  });
  const r = Math.sqrt(12.5);
  // Norms see (3, 4) / r as they do without scales; x begins as (6, 8), and half of what is added is.
  const half = 3 / r * (4 / r / (1 + Math.exp(-4 / r))) / 2;
  const y = [6 + 3 / r / 2 + half, 8 + 4 / r / 2 - half];
  const scale = 1 / Math.sqrt((y[0] ** 2 + y[1] ** 2) / 2);
  const [n0, n1] = [y[0] * scale / 4, 2 * y[1] * scale / 4];
  close(new ReferenceDecoder(model).step(0), [3 * n0 + 4 * n1, n0, n1], 1e-9);
  // Dots 0 and 4 ln 3 make weights 1/4 and 3/4.
  const keys = [Float64Array.of(0, 0), Float64Array.of(Math.log(3), 0)];
  const values = [Float64Array.of(10, 0), Float64Array.of(20, 0)];
  close(attend(model, Float64Array.of(4, 0), keys, values), [17.5, 0]);
  const plain = handModel("granite");
  assertEquals(
    [plain.embeddingScale, plain.residualScale, plain.scoreScale, plain.logitScale],
    [1, 1, 1 / Math.SQRT2, 1],
  );
  close(
    new ReferenceDecoder(plain).step(0),
    [...new ReferenceDecoder(handModel("llama")).step(0)],
  );
});

Deno.test("ReferenceDecoder leaves queries and keys as they are in every fourth layer of smollm3", () => {
  const [layer] = handModel("smollm3").layers;
  assertEquals(layer.unrotated, false);
  const r = Math.sqrt(12.5);
  for (const unrotated of [false, true]) {
    const model = handModel("smollm3");
    model.layers[0].unrotated = unrotated;
    const decoder = new ReferenceDecoder(model);
    decoder.step(0);
    decoder.step(0);
    // The key is (3, 4) / r; position 1 rotates it by one radian.
    const [cos, sin] = unrotated ? [1, 0] : [Math.cos(1), Math.sin(1)];
    close(decoder.keys[0][1], [(3 * cos - 4 * sin) / r, (3 * sin + 4 * cos) / r]);
  }
  const path = new URL("../golden/models/tiny_smollm3_q8_0.gguf", import.meta.url).pathname;
  using file = GgufFile.open(path);
  assertEquals(
    loadReferenceModel(file).layers.map(({ unrotated }) => unrotated),
    [false, false, false, true, false],
  );
});

Deno.test("ReferenceDecoder follows a model worked out by hand, arcee, llama and qwen2", () => {
  // Token 0: x = (3, 4), r = √12.5. The query is 0, so attention returns the value of the only position, x / r.
  const r = Math.sqrt(12.5);
  const a = [3 + 3 / r, 4 + 4 / r];
  // Feed-forward input: a / √(mean a²) = (3, 4) / r again, as a is a multiple of x.
  const up = 3 / r;
  const swish = 4 / r / (1 + Math.exp(-4 / r));
  const expected = {
    arcee: [a[0] + up * up, a[1]],
    llama: [a[0] + up * swish, a[1] - up * swish],
    // The biases make the sum (6, 8) + (3, 4) / r, a multiple of (3, 4) again.
    qwen2: [a[0] + 3 + up * swish, a[1] + 4 - up * swish],
  };
  for (const architecture of ["arcee", "llama", "qwen2"] as const) {
    const [y0, y1] = expected[architecture];
    const scale = 1 / Math.sqrt((y0 * y0 + y1 * y1) / 2);
    const [n0, n1] = [y0 * scale, 2 * y1 * scale];
    const decoder = new ReferenceDecoder(handModel(architecture));
    close(decoder.step(0), [3 * n0 + 4 * n1, n0, n1], 1e-9);
    assertThrows(() => decoder.step(3), RangeError, "token is 3, expected 0 to 2");
  }
});

Deno.test("referenceForward is the decoder's steps, and referenceGreedy their largest", () => {
  const model = handModel("arcee");
  const logits = referenceForward(model, [0, 1, 2]);
  const decoder = new ReferenceDecoder(model);
  [0, 1, 2].forEach((token, i) => assertEquals(logits[i], decoder.step(token)));
  const argmax = (row: Float64Array) => row.indexOf(Math.max(...row));
  const next = referenceGreedy(model, [0, 1, 2], 2);
  assertEquals(next[0], argmax(logits[2]));
  assertEquals(next[1], argmax(decoder.step(next[0])));
  assertEquals(referenceGreedy(model, [0, 1, 2], 5, new Set([next[0]])), [next[0]]);
});

const folder = new URL("../golden/models/", import.meta.url);
const golden = JSON.parse(Deno.readTextFileSync(new URL("prompt.json", folder))) as {
  prompt: number[];
  long_prompt: number[];
  long: string[];
  greedy: Record<string, number[]>;
};

// YaRN is not of this reference: the engine is compared with the other implementation's logits and frequencies.
for (const name of Object.keys(golden.greedy).filter((name) => !name.includes("yarn"))) {
  Deno.test(`referenceForward agrees with an independent implementation's logits for ${name}`, () => {
    using file = GgufFile.open(new URL(`${name}.gguf`, folder).pathname);
    const prompt = golden.long.includes(name) ? golden.long_prompt : golden.prompt;
    const model = loadReferenceModel(
      file,
      name.includes("short") ? prompt.length : undefined,
    );
    const expected = readNpy(new URL(`${name}.logits.npy`, folder).pathname);
    const rows = referenceForward(model, prompt);
    assertEquals(expected.shape, [rows.length, model.vocabulary]);
    let error = 0, norm = 0;
    rows.forEach((row, t) =>
      row.forEach((v, i) => {
        const want = Number(expected.data[t * row.length + i]);
        error += (v - want) ** 2;
        norm += want ** 2;
      })
    );
    // The other side computes in f32.
    assertEquals(Math.sqrt(error / norm) < 1e-5, true, `relative L2 ${Math.sqrt(error / norm)}`);
    const greedy = golden.greedy[name];
    assertEquals(referenceGreedy(model, prompt, greedy.length), greedy);
  });
}
