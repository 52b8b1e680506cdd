/**
 * Encoding and decoding speed of the tokenizers on one core, in MB of UTF-8 a second. Without `--data`, on a small
 * vocabulary and text made of its corpus' words; with it, on real vocabularies and a book.
 * @module
 */

import { join } from "@std/path";
import { median } from "../../src/common/math.ts";
import { Rng } from "../../src/common/rng.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { GgufMetadata } from "../../src/formats/gguf_metadata.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import type { Bench, BenchContext } from "./harness.ts";

const words =
  ("the sparrow sat on garden wall and watched rain run down stones it wasn't cold but warm either we'll " +
    "wait said they'll come they've always every day children ran out of house full noise boots muddy water")
    .split(" ");

/** English-like text of about `bytes` bytes: sentences of seeded words with numbers now and then. */
function syntheticText(bytes: number): string {
  const rng = new Rng(1);
  const parts: string[] = [];
  for (let length = 0; length < bytes;) {
    const word = rng.uniform() < 0.03 ? `${rng.integer(10000)}` : words[rng.integer(words.length)];
    const end = rng.uniform() < 0.08 ? (rng.uniform() < 0.2 ? ".\n" : ". ") : " ";
    parts.push(word, end);
    length += word.length + end.length;
  }
  return parts.join("");
}

function goldenTokenizer(): Tokenizer {
  const url = new URL("../../tests/golden/tokenizers/bpe.json", import.meta.url);
  const { tokens, merges } = JSON.parse(Deno.readTextFileSync(url)) as {
    tokens: string[];
    merges: string[];
  };
  return Tokenizer.fromGguf(
    new GgufMetadata({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "gpt-2",
      "tokenizer.ggml.tokens": tokens,
      "tokenizer.ggml.merges": merges,
    }),
  );
}

function measure(context: BenchContext, name: string, tokenizer: Tokenizer, text: string): void {
  const megabytes = new TextEncoder().encode(text).length / 1e6;
  const encodeMs: number[] = [], decodeMs: number[] = [];
  for (let run = 0; run < 5; run++) {
    const start = performance.now();
    const ids = tokenizer.encode(text);
    const encoded = performance.now();
    const back = tokenizer.decode(ids);
    decodeMs.push(performance.now() - encoded);
    encodeMs.push(encoded - start);
    if (back !== text) {
      throw new Error(`${name}: the decoded text is not the text that was encoded`);
    }
  }
  const report = (metric: string, times: number[]) =>
    context.report({
      case: name,
      metric,
      value: megabytes / (median(times) / 1e3),
      unit: "MB/s",
      device: "one CPU core",
    });
  report("encode_mb_per_s", encodeMs);
  report("decode_mb_per_s", decodeMs);
}

export const bench: Bench = {
  name: "tokenizer",
  summary: "text to tokens and back, MB/s on one core",
  // deno-lint-ignore require-await -- the interface is for benches that wait for a device
  async run(context: BenchContext): Promise<void> {
    measure(context, "bpe_synthetic", goldenTokenizer(), syntheticText(2e6));
    if (context.data === undefined) return;
    const book = Deno.readTextFileSync(join(context.data, "text", "2600-0.txt")).slice(0, 2e6);
    for (const [name, vocabulary] of [["bpe_gpt2", "gpt-2"], ["spm_llama", "llama-spm"]]) {
      using file = GgufFile.open(join(context.data, "tokenizers", `ggml-vocab-${vocabulary}.gguf`));
      measure(context, name, Tokenizer.fromGguf(file.metadata), book);
    }
  },
};
