import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { searchTexts } from "../../examples/search_texts.ts";
import { Rng } from "../../src/common/rng.ts";
import { Engine } from "../../src/engine/engine.ts";
import { LocalEnginePool } from "../../src/engine/local_engine_pool.ts";
import { PooledText } from "../../src/engine/pooled_text.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { TextEngine } from "../../src/engine/text_engine.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import { type GoldenModel, goldenPath, goldenPromptOf } from "../support/golden_models.ts";
import { inFolder } from "../support/in_folder.ts";
import { gpuTest, hasAdapter } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";
import { withMetadata } from "../support/with_metadata.ts";

const golden = JSON.parse(
  Deno.readTextFileSync(new URL("../golden/models/embeddings.json", import.meta.url)),
) as Record<GoldenModel, Record<"mean" | "last", number[]>>;

/** Texts and vectors of models by llama.cpp. */
const byText = JSON.parse(
  Deno.readTextFileSync(new URL("../golden/text/embeddings.json", import.meta.url)),
) as { texts: string[]; vectors: Record<"sparrow-mini" | "tiny_qwen3_f32", number[][]> };

const mini = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
const { texts } = byText;

for (
  const [kernels, names] of [
    ["lanes", ["tiny_llama_f32", "tiny_qwen3_f32", "tiny_gemma3_f32", "tiny_granite_q8_0"]],
    ["wide", ["tiny_qwen3_f32"]],
  ] as const
) {
  for (const name of names) {
    gpuTest(
      `GpuStepRunner gives ${name} its golden hidden states: ${kernels} kernels`,
      async () => {
        await using runner = await GpuStepRunner.open(goldenPath(name), {
          kvType: "f32",
          contextLength: 256,
          maxSequences: 2,
          maxBatchTokens: 64,
          nativeLayers: false,
        }, await Gpu.open({ kernels }));
        const prompt = Uint32Array.from(goldenPromptOf(name));
        const { width } = runner.embedding;
        const poolings = ["mean", "last"] as const;
        const pooled = poolings.map((pooling) =>
          new PooledText({ pooling, tokens: prompt.length, width })
        );
        for (let position = 0; position < prompt.length; position += 32) {
          const tokens = prompt.subarray(position, position + 32);
          const rows = pooled.map((pooled, slot) => ({
            slot,
            tokens,
            position,
            pages: [0, 1, 2, 3].map((page) => 4 * slot + page),
            sample: false,
            sampling: greedy,
            sampleIndex: 0,
            decode: { kind: "dense" as const },
            pooled,
          }));
          runner.submit({ rows, copies: [] });
          runner.collect();
        }
        poolings.forEach((pooling, i) =>
          assertClose(pooled[i].vector(), golden[name][pooling], 1e-4, `${name}, ${pooling}`)
        );
      },
    );
  }
}

gpuTest("TextEngine.embed gives the embedded model's texts the vectors of llama.cpp", async () => {
  await using engine = await TextEngine.open({
    model: mini,
    isolate: "own",
    kvType: "f32",
    activations: "f32",
    contextLength: 512,
    maxSequences: 4,
    maxBatchTokens: 128,
  });
  assertEquals(engine.info.embeddingWidth, 256);
  const { vectors } = await engine.embed(texts);
  vectors.forEach((vector, i) =>
    assertClose(vector, byText.vectors["sparrow-mini"][i], 2e-4, texts[i])
  );
  const { vectors: short } = await engine.embed(texts, { dimensions: 64 });
  short.forEach((vector, i) => {
    const leading = byText.vectors["sparrow-mini"][i].slice(0, 64);
    const length = Math.hypot(...leading);
    assertClose(vector, leading.map((x) => x / length), 2e-4, texts[i]);
  });
});

gpuTest(
  "TextEngine.embed pools as the file says, with the special tokens that it asks for",
  async () => {
    await inFolder(async (folder) => {
      const open = async (name: string, more: Parameters<typeof withMetadata>[2]) => {
        const model = `${folder}/${name}.gguf`;
        withMetadata(goldenPath("tiny_qwen3_f32"), model, more);
        return await TextEngine.open({
          model,
          isolate: "own",
          kvType: "f32",
          contextLength: 512,
          maxSequences: 4,
          maxBatchTokens: 128,
        });
      };
      const pooling = (value: number) => ({
        "qwen3.pooling_type": { type: "uint32" as const, value },
      });
      {
        await using engine = await open("like-qwen3-embedding", {
          ...pooling(3),
          "tokenizer.ggml.add_eos_token": true,
        });
        const { vectors, usage } = await engine.embed(texts);
        vectors.forEach((vector, i) =>
          assertClose(vector, byText.vectors.tiny_qwen3_f32[i], 1e-4, texts[i])
        );
        const ids = await Promise.all(texts.map((text) => engine.tokenize(text)));
        assertEquals(usage.promptTokens, ids.flat().length + texts.length);
        // Token ids get an end token too, unless they bring it.
        const [end] = await engine.tokenize("<|endoftext|>", { special: true });
        assertEquals((await engine.embed(ids)).vectors, vectors);
        assertEquals((await engine.embed(ids.map((one) => [...one, end]))).vectors, vectors);
        // What is continued gets none.
        const { usage: continued } = await engine.complete(texts[0], { maxTokens: 1 });
        assertEquals(continued.promptTokens, ids[0].length);
      }
      {
        await using first = await open("first", pooling(2));
        const { vectors } = await first.embed(["the sparrow", "the wood"]);
        assertSameBits(vectors[0], vectors[1]);
      }
      await using rank = await open("rank", pooling(4));
      assertEquals(rank.info.embeddingWidth, undefined);
      await assertRejects(
        () => rank.embed("text"),
        TypeError,
        "rank gives no embeddings: qwen3.pooling_type of its file is 4, the rank of a text beside another",
      );
    });
  },
);

for (const kernels of ["lanes", "wide"] as const) {
  gpuTest(
    `TextEngine.embed gives a text the same bits alone, in a batch and in chunks: ${kernels} kernels`,
    async () => {
      const rng = new Rng(5);
      const some = [1, 7, 33, 64, 65, 130, 300].map((length) =>
        Array.from({ length }, () => rng.integer(2048))
      );
      const embed = async (maxBatchTokens: number, together: boolean) => {
        const open = async () => {
          using file = GgufFile.open(mini);
          const sizes = { contextLength: 512, maxSequences: 4, maxBatchTokens };
          const runner = await GpuStepRunner.load(file, sizes, await Gpu.open({ kernels }));
          const { architecture, vocabulary } = runner.config;
          const info = {
            id: "mini",
            architecture,
            contextLength: runner.contextLength,
            vocabularySize: vocabulary,
            parameters: 0,
            created: 0,
            hasChatTemplate: false,
            device: runner.device,
          };
          return { info, codec: Tokenizer.fromGguf(file.metadata), runner };
        };
        await using engine = await TextEngine.over(new LocalEnginePool(await Engine.open(open)));
        if (!together) {
          const vectors = [];
          for (const one of some) vectors.push(...(await engine.embed([one])).vectors);
          return vectors;
        }
        const beside = engine.complete("Once upon a time", { maxTokens: 20, ignoreEos: true });
        const { vectors } = await engine.embed([...some.toReversed(), some[3]]);
        await beside;
        return vectors.slice(0, some.length).toReversed();
      };
      const alone = await embed(512, false);
      for (const sizes of [32, 512]) {
        const batched = await embed(sizes, true);
        batched.forEach((vector, i) =>
          assertSameBits(vector, alone[i], `${some[i].length} tokens`)
        );
      }
    },
  );
}

Deno.test("examples/search_texts.ts finds the text that is asked for", async (t) => {
  if (!hasAdapter || !needsNative(t)) return;
  const wood = [
    "The sparrow sat in a tree.",
    "A letter came from the king.",
    "It rained for a week.",
  ];
  for (const text of wood) {
    const found = await searchTexts(text, wood, { model: mini, count: 2 });
    assertEquals([found.length, found[0].text], [2, text]);
    assertAlmostEquals(found[0].score, 1, 1e-3);
    assert(found[1].score < 0.99);
  }
});
