import { assert, assertEquals } from "@std/assert";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Gpu, type KernelFamily } from "../../src/gpu/gpu.ts";
import { uploadParts } from "../../src/model/upload_matrix.ts";
import { assertSameBits } from "../support/compare.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { randomModel } from "../support/random_model.ts";

const path = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
/** Less than the embedding's 2,048 rows of 256 bytes, and enough for every other buffer. */
const maxBufferBytes = 400_000;
const sizes = {
  maxSequences: 2,
  maxBatchTokens: 64,
  contextLength: 128,
  kvTokens: 256,
  retrieval: false as const,
};
/** Of both parts: the second begins at token 1,536. */
const tokens = Uint32Array.from({ length: 100 }, (_, i) => (i * 331 + 5) % 2048);

/** Log probabilities of `tokens`, and what is drawn after their beginning. */
async function run(
  file: GgufFile,
  kernels: KernelFamily,
  maxBufferBytes?: number,
  nativeLayers = false,
) {
  const gpu = await Gpu.open({ kernels, maxBufferBytes });
  await using runner = await GpuStepRunner.load(file, { ...sizes, nativeLayers }, gpu);
  const scores = runner.score(tokens);
  const sampling = { ...greedy, temperature: 2, seed: 3 };
  const sequence = { slot: 0, pages: [0, 1], sample: true, sampling, sampleIndex: 0 };
  const decode = { kind: "dense" } as const;
  const found: number[] = [];
  let row = { ...sequence, decode, tokens: tokens.slice(0, 20), position: 0 };
  for (let position = 20; position < 50; position++) {
    runner.submit({ rows: [row], copies: [] });
    found.push(...runner.collect());
    row = { ...row, tokens: new Uint32Array(0), position, sampleIndex: position };
  }
  return { scores, found };
}

for (const kernels of ["lanes", "wide"] as const) {
  gpuTest(
    `a model whose vocabulary is larger than a buffer gives the same bits: ${kernels} kernels`,
    async () => {
      using file = GgufFile.open(path);
      const whole = await run(file, kernels);
      const parts = await run(file, kernels, maxBufferBytes);
      assertSameBits(parts.scores, whole.scores, "log probabilities");
      assertEquals(parts.found, whole.found);
      // Else the second part would not have been seen.
      assert(whole.found.some((id) => id >= 1536), `${whole.found}`);
    },
  );
}

gpuTest(
  "a model whose embedding and output matrix are cut at tokens of their own gives the same bits",
  async () => {
    // In F16 and in Q8_0, which has half as many bytes a token.
    const shape = { width: 128, heads: 2, kvHeads: 1, headDim: 64, hidden: 256, rotated: 64 };
    const more = { vocabulary: 2048, scale: 1, tied: false };
    using file = GgufFile.read(randomModel({ architecture: "llama", ...shape, ...more }));
    const maxBufferBytes = 200_000;
    // The wide kernels, which are compiled for a shape of their own in a fifth of the time.
    const [whole, parts] = [await run(file, "wide"), await run(file, "wide", maxBufferBytes)];
    assertSameBits(parts.scores, whole.scores, "log probabilities");
    assertEquals(parts.found, whole.found);
    assert(whole.found.some((id) => id >= 1536), `${whole.found}`);
    using gpu = await Gpu.open({ maxBufferBytes });
    const rows = (name: string) => uploadParts({ gpu }, file, name).map((part) => part.rows);
    assertEquals([rows("token_embd.weight"), rows("output.weight")], [[768, 768, 512], [
      1536,
      512,
    ]]);
  },
);

gpuTest("uploadParts cuts rows where a buffer ends, in whole tiles", async () => {
  using file = GgufFile.open(path);
  for (const [bytes, rows] of [[maxBufferBytes, [1536, 512]], [2048 * 256, [2048]]] as const) {
    using gpu = await Gpu.open({ maxBufferBytes: bytes });
    const parts = uploadParts({ gpu }, file, "token_embd.weight");
    assertEquals(parts.map((part) => part.rows), [...rows]);
  }
});
