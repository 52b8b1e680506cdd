import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ModelFormatError } from "../../src/common/errors.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf, type GgufInput, type GgufTensorInput } from "../../src/formats/gguf_writer.ts";
import { layerWindow, readModelConfig } from "../../src/model/config.ts";
import { checkTensors } from "../../src/model/tensor_table.ts";
import { rotarySource } from "../../src/model/weights.ts";

const u32 = (value: number): GgufInput => ({ type: "uint32", value });
const f32 = (value: number): GgufInput => ({ type: "float32", value });

const [width, heads, kvHeads, headDim, hidden, vocabulary] = [8, 4, 2, 12, 16, 5];

/** Tensors of two layers by name, as llama.cpp's conversion writes them. */
function tensorsOf(architecture: string): Record<string, number[]> {
  const shapes: Record<string, number[]> = {
    "token_embd.weight": [width, vocabulary],
    "output_norm.weight": [width],
  };
  for (const layer of [0, 1]) {
    const add = (name: string, ...shape: number[]) => shapes[`blk.${layer}.${name}`] = shape;
    add("attn_norm.weight", width);
    const fused = architecture === "phi3";
    if (fused) {
      add("attn_qkv.weight", width, (heads + 2 * kvHeads) * headDim);
    } else {
      add("attn_q.weight", width, heads * headDim);
      add("attn_k.weight", width, kvHeads * headDim);
      add("attn_v.weight", width, kvHeads * headDim);
    }
    add("attn_output.weight", heads * headDim, width);
    if (architecture === "qwen2") {
      add("attn_q.bias", heads * headDim);
      add("attn_k.bias", kvHeads * headDim);
      add("attn_v.bias", kvHeads * headDim);
    }
    const gemma = architecture === "gemma3";
    if (architecture === "qwen3" || gemma) {
      add("attn_q_norm.weight", headDim);
      add("attn_k_norm.weight", headDim);
    }
    add("ffn_norm.weight", width);
    if (gemma) {
      add("post_attention_norm.weight", width);
      add("post_ffw_norm.weight", width);
    }
    if (architecture !== "arcee" && !fused) add("ffn_gate.weight", width, hidden);
    add("ffn_up.weight", width, fused ? 2 * hidden : hidden);
    add("ffn_down.weight", hidden, width);
  }
  return shapes;
}

/** A file with `fields` of the architecture and `tensors` changed, undefined ones left out, and `other` fields; every weight is `value`. */
function fileOf(
  architecture: string,
  fields: Record<string, GgufInput> = {},
  tensors: Record<string, number[] | undefined> = {},
  other: Record<string, GgufInput> = {},
  value = 1,
): GgufFile {
  const all: Record<string, GgufInput> = {
    embedding_length: u32(width),
    block_count: u32(2),
    context_length: u32(512),
    feed_forward_length: u32(hidden),
    "attention.head_count": u32(heads),
    "attention.head_count_kv": u32(kvHeads),
    "attention.key_length": u32(headDim),
    "attention.value_length": u32(headDim),
    "attention.layer_norm_rms_epsilon": f32(1e-6),
    ...(architecture === "gemma3" ? { "attention.sliding_window": u32(128) } : {}),
    ...fields,
  };
  const shapes = Object.entries({ ...tensorsOf(architecture), ...tensors });
  return GgufFile.read(encodeGguf({
    metadata: {
      "general.architecture": architecture,
      ...Object.fromEntries(
        Object.entries(all).map(([key, value]) => [`${architecture}.${key}`, value]),
      ),
      ...other,
    },
    tensors: shapes.flatMap(([name, shape]): GgufTensorInput[] =>
      shape
        ? [{
          name,
          shape,
          type: "F32",
          values: new Float32Array(shape.reduce((a, b) => a * b)).fill(value),
        }]
        : []
    ),
  }));
}

/** Expects the file to be refused with `message`. */
function refused(message: string, ...file: Parameters<typeof fileOf>): void {
  const made = fileOf(...file);
  assertThrows(
    () => checkTensors(made, readModelConfig(made)),
    ModelFormatError,
    message,
  );
}

Deno.test("readModelConfig tells the supported architectures apart, and checkTensors takes their files", () => {
  const found = ["llama", "arcee", "qwen2", "qwen3", "phi3", "gemma3", "smollm3", "granite"].map(
    (architecture) => {
      const file = fileOf(architecture);
      const config = readModelConfig(file);
      checkTensors(file, config);
      assertEquals([config.layers, config.rope.dimensions, config.rope.base], [2, headDim, 10000]);
      assert(config.tiedEmbeddings && !config.outputBias);
      const { feedForward, rotaryPairs, attentionBias, headNorm } = config;
      return [config.architecture, feedForward, rotaryPairs, attentionBias, headNorm];
    },
  );
  assertEquals(found, [
    ["llama", "swiglu", "neighbours", false, false],
    ["arcee", "relu2", "neighbours", false, false],
    ["qwen2", "swiglu", "halves", true, false],
    ["qwen3", "swiglu", "halves", false, true],
    ["phi3", "swiglu", "halves", false, false],
    ["gemma3", "geglu", "halves", false, true],
    ["smollm3", "swiglu", "neighbours", false, false],
    ["granite", "swiglu", "neighbours", false, false],
  ]);
});

Deno.test("readModelConfig gives most layers of gemma3 a window and a rotation of their own", () => {
  const scaled = { "rope.freq_base": f32(1e6), "rope.scaling.factor": f32(8) };
  const config = readModelConfig(fileOf("gemma3", scaled));
  assertEquals([config.embeddingScale, config.queryScale], [Math.sqrt(width), headDim ** -0.5]);
  assert(config.postNorms);
  assertEquals(config.rope, { base: 1e6, dimensions: headDim, scale: 8 });
  const windows = Array.from({ length: 7 }, (_, layer) => layerWindow(config, layer)?.tokens);
  assertEquals(windows, [128, 128, 128, 128, 128, undefined, 128]);
  assertEquals(layerWindow(config, 0)?.rope, { base: 10000, dimensions: headDim, scale: 1 });

  const other = readModelConfig(fileOf("gemma3", {
    // Longer than the context: nothing is hidden, and yet these layers rotate by frequencies of their own.
    "attention.sliding_window": u32(4096),
    "attention.sliding_window_pattern": u32(2),
    "rope.freq_base_swa": f32(5000),
  }));
  assertEquals(layerWindow(other, 0)?.rope.base, 5000);
  assertEquals(layerWindow(other, 1), undefined);
  const largest = readModelConfig(fileOf("gemma3", { block_count: u32(62) }));
  assertEquals(largest.queryScale, (width / heads) ** -0.5);
  refused("gemma3.attention.sliding_window is 0, expected", "gemma3", {
    "attention.sliding_window": u32(0),
  });
  refused("blk.1.post_ffw_norm.weight", "gemma3", {}, { "blk.1.post_ffw_norm.weight": undefined });
});

Deno.test("readModelConfig reads granite's four scales, and refuses them of other architectures", () => {
  const fields = {
    embedding_scale: f32(12),
    residual_scale: f32(0.25),
    "attention.scale": f32(0.015625),
    logit_scale: f32(8),
  };
  const scales = (architecture: string, given: Parameters<typeof fileOf>[1]) => {
    const { embeddingScale, residualScale, queryScale, logitDivisor } = readModelConfig(
      fileOf(architecture, given),
    );
    return [embeddingScale, residualScale, queryScale, logitDivisor];
  };
  assertEquals(scales("granite", fields), [12, 0.25, 0.015625, 8]);
  const usual = [1, 1, headDim ** -0.5, 1];
  assertEquals(scales("granite", {}), usual);
  assertEquals(scales("llama", {}), usual);
  for (const [field, value] of Object.entries(fields)) {
    refused(`llama.${field} is `, "llama", { [field]: value });
  }
  // What they would be anyway.
  const said = { logit_scale: f32(1), "attention.scale": f32(headDim ** -0.5) };
  assertEquals(scales("llama", said), usual);
  assertEquals(scales("gemma3", { embedding_scale: f32(Math.sqrt(width)) })[0], Math.sqrt(width));
  for (const field of Object.keys(fields)) {
    for (const value of [0, -1, NaN, Infinity]) {
      refused(`granite.${field} is `, "granite", { [field]: f32(value) });
    }
  }
});

Deno.test("readModelConfig says that every fourth layer of smollm3 does not rotate, and none of a granite without positions", () => {
  const without: Record<string, GgufInput> = {
    "rope.scaling.finetuned": false,
  };
  assertEquals(readModelConfig(fileOf("granite", without)).unrotatedPattern, 1);
  assertEquals(readModelConfig(fileOf("granite")).unrotatedPattern, 0);
  assertEquals(readModelConfig(fileOf("smollm3")).unrotatedPattern, 4);
  assertEquals(readModelConfig(fileOf("llama")).unrotatedPattern, 0);
});

Deno.test("readModelConfig refuses windows of files that do not say which layers they are for, and soft caps", () => {
  for (const architecture of ["llama", "qwen2", "qwen3"]) {
    refused(
      `${architecture}.attention.sliding_window is 128, expected 0 or at least the context of 512 tokens`,
      architecture,
      { "attention.sliding_window": u32(128) },
    );
    const none = readModelConfig(fileOf(architecture, { "attention.sliding_window": u32(512) }));
    assertEquals(none.window, undefined);
  }
  for (const cap of ["attn_logit_softcapping", "final_logit_softcapping"]) {
    refused(`gemma3.${cap} is 30, expected 0`, "gemma3", { [cap]: f32(30) });
  }
  refused("gemma3.rope.freq_base_swa is 0, expected", "gemma3", { "rope.freq_base_swa": f32(0) });
  refused("llama.rope.freq_base is -1, expected", "llama", { "rope.freq_base": f32(-1) });
});

Deno.test("readModelConfig gives every layer of phi3 the window that its file names, if it hides anything", () => {
  const config = readModelConfig(fileOf("phi3", { "attention.sliding_window": u32(100) }));
  assertEquals(layerWindow(config, 0), { tokens: 100, pattern: 0, rope: config.rope });
  assertEquals(layerWindow(config, 1)?.tokens, 100);
  const none = readModelConfig(fileOf("phi3", { "attention.sliding_window": u32(512) }));
  assertEquals(none.window, undefined);
});

Deno.test("readModelConfig finds the biases that a llama file brings", () => {
  const biases = (layer: number) => ({
    [`blk.${layer}.attn_q.bias`]: [heads * headDim],
    [`blk.${layer}.attn_k.bias`]: [kvHeads * headDim],
    [`blk.${layer}.attn_v.bias`]: [kvHeads * headDim],
    [`blk.${layer}.attn_output.bias`]: [width],
  });
  const file = fileOf("llama", {}, { ...biases(0), ...biases(1) });
  const config = readModelConfig(file);
  assertEquals([config.attentionBias, config.outputBias], [true, true]);
  checkTensors(file, config);
  refused("tensor blk.1.attn_q.bias is absent", "llama", {}, biases(0));
  refused("blk.1.attn_q.bias, blk.1.attn_k.bias, blk.1.attn_v.bias", "llama", {}, biases(1));
});

Deno.test("readModelConfig refuses what is not supported, with field, value and what is expected", () => {
  for (const architecture of ["qwen2moe", "qwen3moe", "gemma2"]) {
    refused(
      `general.architecture is "${architecture}", expected llama, arcee, qwen2, qwen3, phi3, gemma3, smollm3 or granite`,
      architecture,
    );
  }
  refused("llama.attention.causal is false, expected true", "llama", { "attention.causal": false });
  refused("llama.attention.layer_norm_rms_epsilon is -1, expected", "llama", {
    "attention.layer_norm_rms_epsilon": f32(-1),
  });
  refused("llama.attention.layer_norm_rms_epsilon is 1e+300, expected", "llama", {
    "attention.layer_norm_rms_epsilon": { type: "float64", value: 1e300 },
  });
  refused("split.count is 3, expected 1: join the parts", "llama", {}, {}, {
    "split.count": u32(3),
  });
  assertEquals(readModelConfig(fileOf("llama", {}, {}, { "split.count": u32(1) })).layers, 2);
  refused("qwen3.expert_count is 8, expected 0", "qwen3", { expert_count: u32(8) });
  refused(
    'llama.rope.scaling.type is "dynamic", expected "none", "linear", "yarn" or "longrope"',
    "llama",
    { "rope.scaling.type": "dynamic" },
  );
});

Deno.test("readModelConfig reads LongRoPE, and checkTensors wants both sets of its divisors", () => {
  const long = "rope_factors_long.weight";
  const factors = { "rope_factors_short.weight": [4], [long]: [4] };
  const fields = {
    "rope.dimension_count": u32(8),
    "rope.scaling.original_context_length": u32(64),
  };
  // llama.cpp's conversion writes no type.
  const none: Record<string, GgufInput> = {};
  for (const type of [none, { "rope.scaling.type": "longrope" }]) {
    const file = fileOf("phi3", { ...fields, ...type }, factors);
    const config = readModelConfig(file);
    checkTensors(file, config);
    assertEquals([config.rope.scale, config.contextLength], [1, 512]);
    assertEquals(config.rope.long!.originalContext, 64);
    // The square root of 1 + ln(512 / 64) / ln 64.
    assertAlmostEquals(config.rope.long!.magnitude, Math.sqrt(1.5), 1e-12);
  }
  const given = fileOf("phi3", { ...fields, "rope.scaling.attn_factor": f32(1.25) }, factors);
  assertEquals(readModelConfig(given).rope.long!.magnitude, 1.25);
  refused("tensor rope_factors_short.weight is absent", "phi3", {
    ...fields,
    "rope.scaling.type": "longrope",
  });
  refused("rope_factors_long.weight is [6], expected [4]", "phi3", fields, {
    ...factors,
    [long]: [6],
  });
  refused("phi3.rope.scaling.attn_factor is 0, expected a number above 0", "phi3", {
    ...fields,
    "rope.scaling.attn_factor": f32(0),
  }, factors);
  refused('phi3.rope.scaling.type is "yarn", expected "longrope"', "phi3", {
    ...fields,
    "rope.scaling.type": "yarn",
  }, factors);
  refused("blk.0.attn_qkv.weight is [", "phi3", {}, { "blk.0.attn_qkv.weight": [width, 4] });
});

Deno.test("readModelConfig reads RoPE scaling as llama.cpp does", () => {
  const rope = (fields: Record<string, GgufInput>) => readModelConfig(fileOf("qwen2", fields));
  const factor = { "rope.scaling.factor": f32(4) };
  assertEquals(rope(factor).rope, { base: 10000, dimensions: 12, scale: 4 });
  assertEquals(rope({ ...factor, "rope.scaling.type": "none" }).rope.scale, 1);
  assertEquals(rope({ ...factor, "rope.scaling.type": "linear" }).rope.scale, 4);
  // There cos and sin grow by it under any scaling.
  for (const type of ["none", "linear"]) {
    const magnitude = (value: number) => ({
      ...factor,
      "rope.scaling.type": type,
      "rope.scaling.attn_factor": f32(value),
    });
    refused("qwen2.rope.scaling.attn_factor is 0.5, expected 1", "qwen2", magnitude(0.5));
    assertEquals(rope(magnitude(1)).rope.yarn, undefined);
  }

  const yarn = { ...factor, "rope.scaling.type": "yarn" };
  const base = { "rope.freq_base": f32(1e6), "rope.dimension_count": u32(8) };
  const plain = rope({ ...yarn, ...base });
  assertEquals(plain.rope.scale, 4);
  // Without another the original context is the model's own; the scaled one is 4 times as long.
  assertEquals(plain.contextLength, 2048);
  assertAlmostEquals(plain.rope.yarn!.magnitude, 0.1 * Math.log(4) + 1, 1e-12);
  const original = rope({
    ...yarn,
    ...base,
    "rope.scaling.original_context_length": u32(64),
    "rope.scaling.attn_factor": f32(0.5),
  });
  assertEquals(original.contextLength, 512);
  assertAlmostEquals(original.rope.yarn!.magnitude, (0.1 * Math.log(4) + 1) / 2, 1e-12);
  const given = rope({ ...yarn, ...base, "rope.scaling.yarn_attn_factor": f32(1.5) });
  assertEquals(given.rope.yarn!.magnitude, 1.5);
  const betas = rope({
    ...yarn,
    "rope.scaling.original_context_length": u32(100000),
    "rope.scaling.yarn_beta_fast": f32(100),
    "rope.scaling.yarn_beta_slow": f32(10),
  });
  // 12 ln(100000 / (2 pi 100)) / (2 ln 10000) = 3.30, and 4.80 for 10.
  assertEquals([betas.rope.yarn!.low, betas.rope.yarn!.high], [3, 5]);

  const refuse = (field: string, value: number, expected: string) =>
    refused(`qwen2.rope.${field} is ${value}, expected ${expected}`, "qwen2", {
      ...yarn,
      [`rope.${field}`]: f32(value),
    });
  refuse("scaling.factor", 0.5, "at least 1");
  refuse("freq_base", 1, "a number above 1");
  refuse("scaling.yarn_ext_factor", 0, "1: other mixes");
  refuse("scaling.yarn_log_multiplier", 1, "0: it is not supported");
  refuse("scaling.attn_factor", 0, "a number above 0");
  refuse("scaling.yarn_beta_slow", -1, "a number above 0");
});

Deno.test("readModelConfig reads how texts are pooled, by llama.cpp's numbers", () => {
  const pooling = (fields?: Record<string, GgufInput>) =>
    readModelConfig(fileOf("qwen3", fields)).pooling;
  assertEquals(pooling(), undefined);
  const kinds = [undefined, "mean", "first", "last", "rank"] as const;
  kinds.forEach((kind, value) => assertEquals(pooling({ pooling_type: u32(value) }), kind));
  assertThrows(
    () => pooling({ pooling_type: u32(5) }),
    ModelFormatError,
    "qwen3.pooling_type is 5",
  );
});

Deno.test("readModelConfig refuses more tokens than the embedding has rows", () => {
  const tokens = Array.from({ length: vocabulary + 1 }, (_, i) => `t${i}`);
  const file = (count: number): Parameters<typeof fileOf> => [
    "llama",
    {},
    {},
    { "tokenizer.ggml.tokens": tokens.slice(0, count) },
  ];
  refused(
    `tokenizer.ggml.tokens is an array of ${vocabulary + 1}, expected at most ${vocabulary}`,
    ...file(vocabulary + 1),
  );
  // Embeddings are often padded.
  for (const count of [vocabulary, vocabulary - 1]) {
    assertEquals(readModelConfig(fileOf(...file(count))).vocabulary, vocabulary);
  }
});

Deno.test("checkTensors names absent and misshapen tensors", () => {
  for (const part of ["q", "k", "v"]) {
    const name = `blk.1.attn_${part}.bias`;
    refused(`tensor ${name} is absent`, "qwen2", {}, { [name]: undefined });
  }
  refused("blk.0.attn_k.bias is [48], expected [24]", "qwen2", {}, { "blk.0.attn_k.bias": [48] });
  refused("tensor blk.0.attn_q_norm.weight is absent", "qwen3", {}, {
    "blk.0.attn_q_norm.weight": undefined,
  });
  refused("blk.1.attn_k_norm.weight is [24], expected [12]", "qwen3", {}, {
    "blk.1.attn_k_norm.weight": [24],
  });
  refused("rope_freqs.weight is [12], expected [6]", "llama", {}, { "rope_freqs.weight": [12] });
  for (const value of [0, -1, NaN, Infinity]) {
    refused(
      `rope_freqs.weight[0] is ${value}, expected a finite number above 0`,
      "llama",
      {},
      { "rope_freqs.weight": [6] },
      {},
      value,
    );
  }
});

Deno.test("checkTensors refuses tensors that the model would not use, and lists them", () => {
  refused(
    "blk.0.attn_q.bias in the file, expected only the tensors of a dense qwen3 model of 2 layers",
    "qwen3",
    {},
    { "blk.0.attn_q.bias": [48] },
  );
  refused("blk.1.attn_sinks.weight in the file", "llama", {}, { "blk.1.attn_sinks.weight": [4] });
  refused("blk.2.attn_norm.weight in the file", "qwen2", {}, { "blk.2.attn_norm.weight": [8] });
  const many: Record<string, number[]> = {};
  for (let i = 0; i < 11; i++) many[`blk.0.ffn_up.${i}.weight`] = [8];
  refused("blk.0.ffn_up.7.weight and 3 more in the file", "arcee", {}, many);
});

Deno.test("rotarySource pairs neighbours on the GPU, of the rotated dimensions only", () => {
  const rope = { base: 10000, dimensions: 6, scale: 1 };
  const order = (rotaryPairs: "neighbours" | "halves") =>
    [0, 1, 2, 3, 4, 5, 6, 7].map((dim) => rotarySource({ rotaryPairs, rope }, dim));
  assertEquals(order("neighbours"), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(order("halves"), [0, 3, 1, 4, 2, 5, 6, 7]);
});
