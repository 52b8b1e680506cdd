import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { DenseMatrix } from "../../ffi/dense_matrix.ts";
import { Rng } from "../../src/common/rng.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import {
  goldenLogits,
  type GoldenModel,
  goldenPath,
  goldenPromptOf,
} from "../support/golden_models.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";
import { randomModel } from "../support/random_model.ts";

const gpu = await openTestGpu({ kernels: "lanes" });

function open(name: GoldenModel, native = true): Promise<ModelUnderTest> {
  // Of the two sets of divisors that phi3 has, the short ones are for contexts up to the original one.
  const context = name.includes("short") ? 128 : 512;
  return ModelUnderTest.open(gpu, goldenPath(name), "f16", context, undefined, native);
}

function tokens(count: number, seed: number): number[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => rng.integer(263));
}

// Squared ReLU; SwiGLU; GEGLU, a window and norms of what layers yield; norms of heads; biases; factors of residuals; layers without positions;
// projections in one tensor; nibbles.
for (
  const name of [
    "tiny_arcee_q8_0",
    "tiny_llama_q8_0",
    "tiny_gemma3_q8_0",
    "tiny_qwen3_q8_0",
    "tiny_qwen2_q8_0",
    "tiny_granite_q8_0",
    "tiny_smollm3_q8_0",
    "tiny_phi3_short_q8_0",
    "tiny_arcee_q4_0",
  ] as const
) {
  gpuTest(`Transformer gives ${name} its golden logits natively`, async (t) => {
    if (!needsNative(t)) return;
    const under = await open(name);
    // No kernel of a product is there to prepare.
    assertEquals(await under.transformer.prepare(), undefined);
    const sequence = new TestSequence(0, [5, 3, 7, 1, 2, 0, 6, 4]);
    const prompt = goldenPromptOf(name);
    const logits: Float32Array[] = [];
    for (let at = 0; at < prompt.length; at += 50) {
      const row = sequence.prefill(prompt.slice(at, at + 50));
      logits.push(...under.step([row], { everyRow: true }).logits);
    }
    assertClose(logits.flatMap((row) => [...row]), goldenLogits(name), 2e-3, name);
  });
}

gpuTest("a row has the same bits natively whatever is in its step", async (t) => {
  if (!needsNative(t)) return;
  for (const name of ["tiny_arcee_q8_0", "tiny_gemma3_q8_0"] as const) {
    const under = await open(name);
    const [prompt, other] = [tokens(150, 1), tokens(90, 2)];
    const alone = new TestSequence(0, [0, 1, 2]);
    const whole = [prompt.slice(0, 64), prompt.slice(64, 128), prompt.slice(128)].flatMap((part) =>
      under.step([alone.prefill(part)], { everyRow: true }).logits
    );
    const last = prompt[0];
    under.step([alone.prefill([last])]);
    const decoded = under.step([alone.decode()]).logits[0];
    for (const chunk of [7, 33, 64]) {
      const sequence = new TestSequence(1, [9, 40, 8]);
      const beside = new TestSequence(2, [31, 30]);
      under.fillPages([9, 40, 8, 31, 30], 0x7b);
      under.step([beside.prefill(other.slice(0, 70))]);
      let at = 0;
      for (; at < prompt.length; at += chunk) {
        const row = sequence.prefill(prompt.slice(at, at + chunk));
        // Rows of prefill come first, those that decode after them.
        const { logits } = under.step([row, beside.decode()], { everyRow: true });
        logits.slice(0, -1).forEach((row, i) =>
          assertSameBits(row, whole[at + i], `${name} in chunks of ${chunk}, token ${at + i}`)
        );
        if (beside.position > 120) beside.position = 71;
      }
      under.step([sequence.prefill([last])]);
      const found = under.step([beside.decode(), sequence.decode()]).logits[1];
      assertSameBits(found, decoded, `${name}, decoded`);
    }
  }
});

gpuTest(
  "a token has the same bits natively as a part of a prompt and where it was decoded",
  async (t) => {
    if (!needsNative(t)) return;
    for (const name of ["tiny_llama_q8_0", "tiny_gemma3_q8_0", "tiny_llama_f16"] as const) {
      const under = await ModelUnderTest.open(gpu, goldenPath(name), "f16", 1024, undefined, true);
      const pages = Array.from({ length: 11 }, (_, i) => 3 * i);
      const sequence = new TestSequence(0, pages);
      const prompt = tokens(470, 7);
      const read = (sequence: TestSequence, chunk: number) => {
        for (let at = 0; at < prompt.length; at += chunk) {
          under.step([sequence.prefill(prompt.slice(at, at + chunk))]);
        }
      };
      read(sequence, 190);
      // Over borders of pages, and of a part of 8 of them.
      const decoded = Array.from({ length: 80 }, () => under.step([sequence.decode()]));
      const again = new TestSequence(1, pages.map((page) => page + 1));
      read(again, 250);
      under.step([again.decode()]);
      const rest = decoded.slice(0, -1).map(({ tokens }) => tokens[0]);
      const { logits } = under.step([again.prefill(rest)], { everyRow: true });
      logits.forEach((row, i) => assertSameBits(row, decoded[i + 1].logits[0], `${name}, ${i}`));
    }
  },
);

gpuTest("prompts of two sequences in one step are attended to apart", async (t) => {
  if (!needsNative(t)) return;
  const under = await open("tiny_llama_q8_0");
  const [first, second] = [tokens(80, 3), tokens(75, 4)];
  const expected = [first, second].map((prompt, i) => {
    const sequence = new TestSequence(i, [2 * i, 2 * i + 1]);
    under.step([sequence.prefill(prompt.slice(0, 30))]);
    return under.step([sequence.prefill(prompt.slice(30))]).logits[0];
  });
  const sequences = [new TestSequence(4, [50, 20]), new TestSequence(5, [21, 60])];
  under.step(sequences.map((sequence, i) => sequence.prefill([first, second][i].slice(0, 30))));
  const { logits } = under.step(
    sequences.map((sequence, i) => sequence.prefill([first, second][i].slice(30))),
  );
  logits.forEach((row, i) => assertSameBits(row, expected[i], `sequence ${i}`));
  assertNotEquals([...expected[0]], [...expected[1]]);
});

gpuTest("a vocabulary in parts gives the same bits natively", async (t) => {
  if (!needsNative(t)) return;
  const shape = { width: 128, heads: 2, kvHeads: 1, headDim: 64, hidden: 256, rotated: 64 };
  for (const tied of [true, false]) {
    const more = {
      vocabulary: 2048,
      scale: 1,
      tied,
      types: { token_embd: "Q8_0", output: "Q8_0" },
    };
    using file = GgufFile.read(randomModel({ architecture: "llama", ...shape, ...more }));
    const found = [];
    for (const maxBufferBytes of [undefined, 200_000]) {
      const device = await Gpu.open({ kernels: "lanes", maxBufferBytes });
      await using runner = await GpuStepRunner.load(file, {
        maxSequences: 2,
        maxBatchTokens: 32,
        contextLength: 128,
        kvTokens: 256,
        retrieval: false,
        nativeLayers: true,
      }, device);
      found.push(runner.score(Uint32Array.from({ length: 60 }, (_, i) => i * 331 % 2048)));
    }
    assertSameBits(found[1], found[0], `log probabilities, ${tied ? "tied" : "apart"}`);
  }
});

gpuTest("a model of an odd number of heads, wider than all else, runs natively", async (t) => {
  if (!needsNative(t)) return;
  const shape = { width: 128, heads: 3, kvHeads: 3, headDim: 64, hidden: 128, rotated: 64 };
  const names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_down", "token_embd"];
  const types = Object.fromEntries(names.map((name) => [name, "Q8_0"]));
  const more = { vocabulary: 512, scale: 1, tied: true, types };
  using file = GgufFile.read(randomModel({ architecture: "llama", ...shape, ...more }));
  const found = [];
  for (const nativeLayers of [true, false]) {
    await using runner = await GpuStepRunner.load(file, {
      maxSequences: 2,
      maxBatchTokens: 32,
      contextLength: 128,
      kvTokens: 256,
      retrieval: false,
      prepareLater: true,
      nativeLayers,
    }, await Gpu.open({ kernels: "lanes" }));
    found.push(runner.score(Uint32Array.from({ length: 60 }, (_, i) => i * 331 % 512)));
  }
  assertClose(found[0], found[1], 2e-3);
});

gpuTest("a step's rows that are no numbers are told, and spoil no others", async (t) => {
  if (!needsNative(t)) return;
  const under = await open("tiny_arcee_q8_0");
  const sequence = new TestSequence(0, [0, 1]);
  const before = under.step([sequence.prefill(tokens(20, 5))]).logits[0];
  // Values of another sequence's page.
  under.fillPages([4], 0xff);
  const bad = new TestSequence(1, [4, 5]);
  bad.position = 64;
  const again = new TestSequence(2, [2, 3]);
  const { logits } = under.step([bad.prefill(tokens(5, 6)), again.prefill(tokens(20, 5))]);
  assert(logits[0].every((logit) => Number.isNaN(logit)));
  assertSameBits(logits[1], before, "beside what is no number");
});

gpuTest("a runner that is closed gives the native library's memory back", async (t) => {
  if (!needsNative(t)) return;
  using file = GgufFile.open(goldenPath("tiny_llama_q8_0"));
  const under = await ModelUnderTest.load(gpu, file, "f16", undefined, undefined, true);
  const row = () => new TestSequence(0, [0]).prefill(tokens(5, 1));
  under.step([row()]);
  under.transformer[Symbol.dispose]();
  under.transformer[Symbol.dispose]();
  // Each time: what a step that failed had asked for does not stand in the way of the next.
  for (let i = 0; i < 3; i++) {
    assertThrows(() => under.step([row()]), TypeError, "dense matrix was disposed");
  }
});

gpuTest("a runner that is closed disposes of all that is held natively", async (t) => {
  if (!needsNative(t)) return;
  const dispose = DenseMatrix.prototype[Symbol.dispose];
  let disposed = 0;
  DenseMatrix.prototype[Symbol.dispose] = function () {
    disposed++;
    dispose.call(this);
  };
  try {
    const sizes = { contextLength: 128, maxSequences: 2, nativeLayers: true };
    const path = goldenPath("tiny_llama_q8_0");
    const runner = await GpuStepRunner.open(path, sizes, await Gpu.open({ kernels: "lanes" }));
    assertEquals(disposed, 0);
    const { layers, kvHeads } = runner.config;
    const cache = 2 * layers * runner.pagesTotal * kvHeads * 64 * 64 * 2;
    assert(runner.cpuBytes > cache && runner.cpuBytes < cache + 2e6, `${runner.cpuBytes} bytes`);
    await runner[Symbol.asyncDispose]();
    // Four of each layer, and the output matrix.
    assert(disposed >= 4 * runner.config.layers + 1, `${disposed} matrices`);
  } finally {
    DenseMatrix.prototype[Symbol.dispose] = dispose;
  }
});

gpuTest(
  "a prompt of more keys than are read at a time has the scores that shaders give it",
  async (t) => {
    if (!needsNative(t)) return;
    // A page takes 256 KiB, so that 2,048 tokens are read at a time.
    const shape = { width: 128, heads: 8, kvHeads: 8, headDim: 256, hidden: 128, rotated: 64 };
    const more = { vocabulary: 256, scale: 1, tied: true };
    using file = GgufFile.read(randomModel({ architecture: "llama", ...shape, ...more }));
    const text = Uint32Array.from({ length: 2150 }, (_, i) => (i * 331 + 7) % 256);
    const found = [];
    for (const nativeLayers of [true, false]) {
      await using runner = await GpuStepRunner.load(file, {
        maxSequences: 2,
        contextLength: 2240,
        kvTokens: 2240,
        retrieval: false,
        prepareLater: true,
        nativeLayers,
      }, await Gpu.open({ kernels: "lanes" }));
      found.push(runner.score(text));
    }
    assertClose(found[0].subarray(2060), found[1].subarray(2060), 2e-3);
  },
);
