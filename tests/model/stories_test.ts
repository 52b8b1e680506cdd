import { assertEquals } from "@std/assert";
import { llama2cToGguf } from "../../scripts/convert/llama2c_to_gguf.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { FileSource } from "../../src/formats/file_source.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { dataDir } from "../support/data_dir.ts";
import { TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";

gpuTest(
  "GpuStepRunner decodes exactly the known text of the converted stories260K model",
  async () => {
    const dir = dataDir("the known text of stories260K");
    if (!dir) return;
    const expected = Deno.readTextFileSync(`${dir}/models/stories260K.greedy200.txt`);
    using checkpoint = FileSource.open(`${dir}/models/stories260K.bin`);
    using words = FileSource.open(`${dir}/models/tok512.bin`);
    for (const [type, kvType] of [["F32", "f32"], ["F32", "f16"]] as const) {
      using file = GgufFile.read(llama2cToGguf(checkpoint, words, { type }));
      const tokenizer = Tokenizer.fromGguf(file.metadata);
      await using runner = await GpuStepRunner.load(file, { kvType, contextLength: 256 });
      const sequence = new TestSequence(0, [0, 1, 2, 3]);
      const tokens: number[] = [];
      const step = (row: ReturnType<TestSequence["decode"]>) => {
        runner.submit({ rows: [row], copies: [] });
        tokens.push(runner.collect()[0]);
      };
      step(sequence.prefill(tokenizer.encode("")));
      while (tokens.length < 200) step(sequence.decode());
      assertEquals(tokenizer.decode(tokens), expected, `${kvType} keys and values`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  },
);
