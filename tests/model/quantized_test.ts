import { assert } from "@std/assert";
import { median } from "../../src/common/math.ts";
import { Rng } from "../../src/common/rng.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { loadReferenceModel, referenceForward } from "../oracle/llama_reference.ts";
import { difference } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";
import { randomModel, type RandomModelShape } from "../support/random_model.ts";

const gpu = await openTestGpu();

const shape: RandomModelShape = {
  architecture: "llama",
  width: 256,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  hidden: 512,
  vocabulary: 77,
  rotated: 64,
  scale: 1,
  tied: false,
};

/** Types as files mix them, and the largest median of the logits' relative errors. */
const mixtures: { name: string; types: Record<string, string>; error: number }[] = [
  {
    name: "matrices held exactly",
    types: {
      token_embd: "IQ4_XS",
      attn_q: "Q5_0",
      attn_k: "Q4_0",
      attn_v: "Q6_K",
      attn_output: "Q3_K",
      ffn_gate: "Q4_K",
      ffn_up: "Q4_K",
      ffn_down: "IQ4_NL",
      output: "Q4_1",
    },
    error: 2e-5,
  },
  {
    name: "as Q4_K_M, queries and keys coded anew beside values of 6 bits",
    types: {
      token_embd: "Q4_K",
      attn_q: "Q4_K",
      attn_k: "Q4_K",
      attn_v: "Q6_K",
      attn_output: "Q4_K",
      ffn_gate: "Q4_K",
      ffn_up: "Q4_K",
      ffn_down: "Q6_K",
      output: "Q6_K",
    },
    error: 5e-3,
  },
  {
    name: "Q5_K and Q5_1 in bytes, Q2_K coded anew",
    types: {
      token_embd: "Q5_K",
      attn_q: "Q5_K",
      attn_k: "Q5_K",
      attn_v: "Q2_K",
      attn_output: "Q5_1",
      ffn_gate: "Q5_K",
      ffn_up: "Q2_K",
      ffn_down: "Q5_K",
      output: "Q5_K",
    },
    error: 5e-3,
  },
];

for (const { name, types, error } of mixtures) {
  for (const native of [false, true]) {
    const how = native ? "natively" : "by shaders";
    gpuTest(
      `Transformer agrees with the f64 reference on quantised weights, ${how}: ${name}`,
      async (t) => {
        if (native && !needsNative(t)) return;
        using file = GgufFile.read(randomModel({ ...shape, types }));
        const rng = new Rng(6);
        const tokens = Array.from({ length: 41 }, () => rng.integer(shape.vocabulary));
        const expected = referenceForward(loadReferenceModel(file), tokens);
        const load = ModelUnderTest.load;
        const under = await load(gpu, file, "f32", undefined, undefined, native);
        const sequence = new TestSequence(0, [2, 1]);
        const logits = [tokens.slice(0, 40), tokens.slice(40)].flatMap((part) =>
          under.step([sequence.prefill(part)], { everyRow: true }).logits
        );
        const errors = logits.map((row, i) => difference(row, expected[i]).relativeL2);
        // The median: where attention hangs between two keys, random weights make much of little.
        const usual = median(errors);
        // Natively rows are rounded to 15 bits.
        const most = native ? error + 3e-4 : error;
        assert(usual < most, `median relative error ${usual} of ${errors}, expected below ${most}`);
      },
    );
  }
}
