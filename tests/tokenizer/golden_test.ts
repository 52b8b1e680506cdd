import { assertEquals } from "@std/assert";
import { bpeGolden, bpeTokenizer, spmGolden, spmTokenizer } from "./fixtures.ts";

for (const pre of Object.keys(bpeGolden.ids)) {
  Deno.test(`Tokenizer with pre-tokenizer ${pre} gives the ids of Hugging Face tokenizers`, () => {
    const tokenizer = bpeTokenizer({ "tokenizer.ggml.pre": pre });
    bpeGolden.texts.forEach((text, i) => {
      const ids = tokenizer.encode(text, { addBos: false });
      assertEquals(ids, bpeGolden.ids[pre][i], JSON.stringify(text));
      assertEquals(tokenizer.decode(ids), pre === "qwen2" ? text.normalize("NFC") : text);
    });
  });
}

Deno.test("Tokenizer cuts words under deepseek-r1-qwen, the distilled Qwen models' name, as under qwen2", () => {
  const tokenizer = bpeTokenizer({ "tokenizer.ggml.pre": "deepseek-r1-qwen" });
  bpeGolden.texts.forEach((text, i) => {
    // But for their file normalising nothing.
    if (text !== text.normalize("NFC")) return;
    assertEquals(tokenizer.encode(text, { addBos: false }), bpeGolden.ids.qwen2[i], text);
  });
});

Deno.test("Tokenizer gives sentencepiece's ids and text", () => {
  const tokenizer = spmTokenizer();
  spmGolden.texts.forEach((text, i) => {
    const ids = tokenizer.encode(text, { addBos: false });
    assertEquals(ids, spmGolden.ids[i], JSON.stringify(text));
    assertEquals(tokenizer.decode(ids), spmGolden.decoded[i], JSON.stringify(text));
  });
});
