import { Rng } from "../../src/common/rng.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { loadReferenceModel, referenceForward } from "../oracle/llama_reference.ts";
import { assertClose } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { randomModel, type RandomModelShape } from "../support/random_model.ts";

const gpus = {
  lanes: await openTestGpu({ kernels: "lanes" }),
  wide: await openTestGpu({ kernels: "wide" }),
};

const shapes: RandomModelShape[] = [
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
