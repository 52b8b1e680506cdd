import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { dataDir } from "../support/data_dir.ts";

const separator = "\n__ggml_vocab_test__\n";

for (const name of ["gpt-2", "starcoder", "deepseek-coder", "llama-spm", "phi-3"]) {
  Deno.test(`Tokenizer gives llama.cpp's published ids for its ${name} vocabulary`, (t) => {
    const dir = dataDir(t.name);
    if (!dir) return;
    const path = join(dir, "tokenizers", `ggml-vocab-${name}.gguf`);
    using file = GgufFile.open(path);
    const tokenizer = Tokenizer.fromGguf(file.metadata);
    const texts = Deno.readTextFileSync(`${path}.inp`).split(separator);
    const lines = Deno.readTextFileSync(`${path}.out`).split("\n").slice(0, texts.length);
    assertEquals(lines.length, texts.length);
    texts.forEach((text, i) => {
      const ids = tokenizer.encode(text, { addBos: false });
      assertEquals(ids, lines[i].split(" ").filter(Boolean).map(Number), JSON.stringify(text));
      assertEquals(tokenizer.decode(ids), text);
    });
  });
}

Deno.test("Tokenizer's phi-3 swallows white space after its turn tokens, as the model was trained", (t) => {
  const dir = dataDir(t.name);
  if (!dir) return;
  using file = GgufFile.open(join(dir, "tokenizers", "ggml-vocab-phi-3.gguf"));
  const tokenizer = Tokenizer.fromGguf(file.metadata);
  const ids = tokenizer.encodeChat([{ role: "user", content: "Hi there" }]);
  const spelled = ids.map((id) => tokenizer.vocab.tokens[id]);
  assertEquals(spelled, ["<s>", "<|user|>", "▁Hi", "▁there", "<|end|>", "<|assistant|>"]);
  assertEquals([...tokenizer.endTokens].map((id) => tokenizer.vocab.tokens[id]), [
    "<|endoftext|>",
    "<|end|>",
  ]);
});
