import { assert } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import type { KernelFamily } from "../../src/gpu/gpu.ts";
import type { Activations } from "../../src/model/transformer_options.ts";
import { syntheticLlama } from "../../scripts/bench/large/synthetic_model.ts";
import { assertSameBits, difference } from "../support/compare.ts";
import {
  goldenLogits,
  type GoldenModel,
  goldenPath,
  goldenPromptOf,
} from "../support/golden_models.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpus = {
  lanes: await openTestGpu({ kernels: "lanes" }),
  wide: await openTestGpu({ kernels: "wide" }),
};

const open = (name: GoldenModel, activations: Activations, family: KernelFamily = "wide") =>
  ModelUnderTest.open(gpus[family], goldenPath(name), "f16", 512, activations);

/** Logits after every token of `prompt`, given in chunks of at most `chunk`. */
function allLogits(under: ModelUnderTest, prompt: readonly number[], chunk: number) {
  const sequence = new TestSequence(0, [0, 1, 2, 3]);
  const logits: Float32Array[] = [];
  for (let at = 0; at < prompt.length; at += chunk) {
    const row = sequence.prefill([...prompt.slice(at, at + chunk)]);
    logits.push(...under.step([row], { everyRow: true }).logits);
  }
  return logits;
}

for (
  const [name, exact, share] of [
    // Of the distance between the model in f32 and in these weights, what int8 activations may add: 0.86, 0.83 and 0.06 of it were found.
    ["tiny_llama_q8_0", "tiny_llama_f32", 1],
    ["tiny_qwen3_q8_0", "tiny_qwen3_f32", 1],
    ["tiny_arcee_q4_0", "tiny_arcee_f32", 0.1],
  ] as const
) {
  gpuTest(
    `Transformer's int8 activations change logits less than the weights' rounding did: ${name}`,
    async () => {
      const found = allLogits(await open(name, "int8"), goldenPromptOf(name), 64);
      const golden = goldenLogits(name);
      const { relativeL2 } = difference(found.flatMap((row) => [...row]), golden);
      const rounding = difference(golden, goldenLogits(exact)).relativeL2;
      assert(relativeL2 <= share * rounding, `${relativeL2}, of weights ${rounding}`);
      assert(relativeL2 > 1e-3, `${relativeL2}: nothing was rounded`);
    },
  );
}

gpuTest(
  "Transformer's int8 activations give a row the same bits in chunks and batches of any size",
  async () => {
    const under = await open("tiny_qwen2_q8_0", "int8");
    const rng = new Rng(11);
    const prompt = Array.from({ length: 130 }, () => rng.integer(263));
    const whole = allLogits(under, prompt, 64);
    allLogits(under, prompt, 37).forEach((row, i) => assertSameBits(row, whole[i], `row ${i}`));
    const tall = under.step([new TestSequence(3, [20, 21, 22, 23]).prefill(prompt)]);
    assertSameBits(tall.logits[0], whole.at(-1)!, "all at once");
    const neighbour = new TestSequence(1, [10]);
    under.step([neighbour.prefill(prompt.slice(0, 30))]);
    const beside = under.step([
      neighbour.decode(),
      new TestSequence(2, [11]).prefill(prompt.slice(0, 40)),
    ]);
    assertSameBits(beside.logits.at(-1)!, whole[39], "beside a decode");
  },
);

gpuTest(
  "Transformer's int8 activations give decoding rows the same bits alone and in batches, of matrices that decode takes bytes for and of others",
  async () => {
    // Of up (2^23 weights), not of the rest.
    const shape = { layers: 2, width: 2048, heads: 8, kvHeads: 2, headDim: 64, hidden: 2048 };
    const file = syntheticLlama({ ...shape, vocabulary: 128, contextLength: 512 });
    const load = (activations: Activations) =>
      ModelUnderTest.load(gpus.wide, file, "f16", 512, activations);
    const sequences = () => Array.from({ length: 18 }, (_, i) => new TestSequence(i, [i]));
    const prompt = (i: number) => [i, 2 * i + 1, 127 - i];
    const run = (under: ModelUnderTest, together: boolean) => {
      const all = sequences();
      all.forEach((one, i) => under.step([one.prefill(prompt(i))]));
      const rows = together
        ? under.step(all.map((one) => one.decode())).logits
        : all.map((one) => under.step([one.decode()]).logits[0]);
      const last = new TestSequence(20, [40]).prefill(prompt(20));
      // Two that decode beside a prompt.
      const mixed = under.step([all[0].decode(), all[1].decode(), last]).logits;
      return [...rows, ...mixed];
    };
    const bytes = await load("int8");
    const alone = run(bytes, false);
    run(bytes, true).forEach((row, i) => assertSameBits(row, alone[i], `row ${i}`));
    const floats = run(await load("f32"), true);
    const { relativeL2 } = difference([...alone[0]], [...floats[0]]);
    assert(relativeL2 > 1e-3 && relativeL2 < 0.1, `${relativeL2} from f32`);
  },
);

gpuTest(
  "GpuStepRunner reads prompts with int8 activations where the device multiplies bytes fast, unless told otherwise",
  async () => {
    const scores = async (byteProducts: boolean, activations?: Activations) => {
      const gpu = Object.defineProperty(await openTestGpu({ kernels: "wide" }), "byteProducts", {
        value: byteProducts,
      });
      const sizes = { contextLength: 128, kvTokens: 128, maxSequences: 2, maxBatchTokens: 64 };
      const path = goldenPath("tiny_qwen2_q8_0");
      await using runner = await GpuStepRunner.open(path, { ...sizes, activations }, gpu);
      return runner.score(Uint32Array.from({ length: 40 }, (_, i) => i));
    };
    const plain = await scores(false);
    const bytes = await scores(false, "int8");
    assert(plain.some((value, i) => value !== bytes[i]), "nothing was rounded");
    assertSameBits(await scores(true), bytes, "by itself");
    assertSameBits(await scores(true, "f32"), plain, "told otherwise");
  },
);

gpuTest(
  "Transformer's int8 activations are for quantised weights and the wide kernels",
  async () => {
    for (
      const [name, family] of [["tiny_llama_f16", "wide"], ["tiny_llama_q8_0", "lanes"]] as const
    ) {
      const prompt = goldenPromptOf(name);
      const plain = allLogits(await open(name, "f32", family), prompt, 64);
      allLogits(await open(name, "int8", family), prompt, 64)
        .forEach((row, i) => assertSameBits(row, plain[i], `${name}, row ${i}`));
    }
  },
);
