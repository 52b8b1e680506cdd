import { assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { llama2cToGguf } from "../../scripts/convert/llama2c_to_gguf.ts";
import { ModelFormatError } from "../../src/common/errors.ts";
import { FileSource, MemorySource } from "../../src/formats/file_source.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import {
  loadReferenceModel,
  referenceForward,
  referenceGreedy,
} from "../oracle/llama_reference.ts";
import { dataDir } from "../support/data_dir.ts";

const dim = 8, hidden = 12, layers = 2, heads = 4, kvHeads = 2, context = 16;
const pieces = ["a", "b", " a", "ab", " "];
const vocabulary = 259 + pieces.length;

/** A checkpoint whose n-th weight is n / 1000, so that a misplaced tensor shows. */
function checkpoint({ tied = true, extra = 0 } = {}): MemorySource {
  const kvDim = dim / heads * kvHeads;
  const perLayer = 2 * dim + 2 * dim * dim + 2 * kvDim * dim + 3 * dim * hidden;
  const table = vocabulary * dim;
  const weights = table + layers * perLayer + dim + context * (dim / heads) + (tied ? 0 : table);
  const header = Int32Array.of(
    dim,
    hidden,
    layers,
    heads,
    kvHeads,
    tied ? vocabulary : -vocabulary,
    context,
  );
  const values = Float32Array.from({ length: weights + extra }, (_, i) => i / 1000);
  return new MemorySource(
    new Uint8Array([...new Uint8Array(header.buffer), ...new Uint8Array(values.buffer)]),
    "m.bin",
  );
}

function tokenizerBin(count = vocabulary): MemorySource {
  const out: number[] = [...new Uint8Array(Int32Array.of(7).buffer)];
  for (let id = 0; id < count; id++) {
    const byte = `<0x${(id - 3).toString(16).toUpperCase().padStart(2, "0")}>`;
    const text = id < 3 ? ["<unk>", "\n<s>\n", "\n</s>\n"][id] : id < 259 ? byte : pieces[id - 259];
    const utf8 = new TextEncoder().encode(text);
    out.push(...new Uint8Array(Float32Array.of(id < 259 ? 0 : 258 - id).buffer));
    out.push(...new Uint8Array(Int32Array.of(utf8.length).buffer), ...utf8);
  }
  return new MemorySource(Uint8Array.from(out), "tok.bin");
}

Deno.test("llama2cToGguf puts every tensor of the checkpoint under its GGUF name", () => {
  using file = GgufFile.read(llama2cToGguf(checkpoint({ tied: false }), tokenizerBin()));
  // The order and sizes of llama2.c's memory_map_weights.
  const stacks: [string, number[]][] = [
    ["attn_norm", [dim]],
    ["attn_q", [dim, dim]],
    ["attn_k", [dim, dim / 2]],
    ["attn_v", [dim, dim / 2]],
    ["attn_output", [dim, dim]],
    ["ffn_norm", [dim]],
    ["ffn_gate", [dim, hidden]],
    ["ffn_down", [hidden, dim]],
    ["ffn_up", [dim, hidden]],
  ];
  let at = 0;
  const expectNext = (name: string, shape: number[]) => {
    const tensor = file.tensor(name);
    assertEquals(tensor.shape, shape, name);
    assertEquals(
      file.readFloats(tensor),
      Float32Array.from({ length: tensor.elements }, (_, i) => (at + i) / 1000),
      name,
    );
    at += tensor.elements;
  };
  expectNext("token_embd.weight", [dim, vocabulary]);
  for (const [name, shape] of stacks) {
    for (let l = 0; l < layers; l++) expectNext(`blk.${l}.${name}.weight`, shape);
  }
  expectNext("output_norm.weight", [dim]);
  at += context * (dim / heads);
  expectNext("output.weight", [dim, vocabulary]);
  assertEquals(file.metadata.number("llama.attention.head_count_kv"), kvHeads);
  assertEquals(file.metadata.number("llama.attention.layer_norm_rms_epsilon"), Math.fround(1e-5));
});

Deno.test("llama2cToGguf leaves the output tied where llama2.c shares it", () => {
  using file = GgufFile.read(llama2cToGguf(checkpoint(), tokenizerBin()));
  assertEquals(file.tensors.has("output.weight"), false);
  const model = loadReferenceModel(file);
  assertEquals(model.output, model.embedding);
  assertEquals(referenceForward(model, [1, 259]).map((logits) => logits.length), [
    vocabulary,
    vocabulary,
  ]);
});

Deno.test("llama2cToGguf keeps norms in F32 and rows that are no whole blocks in F16 under Q8_0", () => {
  using file = GgufFile.read(llama2cToGguf(checkpoint(), tokenizerBin(), { type: "Q8_0" }));
  assertEquals(file.tensor("output_norm.weight").type.name, "F32");
  assertEquals(file.tensor("blk.0.attn_q.weight").type.name, "F16");
});

Deno.test("llama2cToGguf makes a SentencePiece vocabulary of tokenizer.bin", () => {
  using file = GgufFile.read(llama2cToGguf(checkpoint(), tokenizerBin()));
  const tokenizer = Tokenizer.fromGguf(file.metadata);
  assertEquals([tokenizer.bosId, tokenizer.eosId, tokenizer.unknownId], [1, 2, 0]);
  assertEquals(tokenizer.vocab.tokens.slice(259), ["a", "b", "▁a", "ab", "▁"]);
  assertEquals(tokenizer.encode("a"), [1, 261]);
  assertEquals(tokenizer.decode(tokenizer.encode("ab c")), "ab c");
});

Deno.test("llama2cToGguf refuses checkpoints and tokenizers that are cut, overlong or of nonsense", () => {
  const cut = new MemorySource(new Uint8Array(40), "m.bin");
  assertThrows(
    () => llama2cToGguf(cut, tokenizerBin()),
    ModelFormatError,
    "m.bin: dim is 0, expected 1 to 65536",
  );
  const long = checkpoint({ extra: 2 });
  assertThrows(
    () => llama2cToGguf(long, tokenizerBin()),
    ModelFormatError,
    "file is 8 bytes longer",
  );
  const few = tokenizerBin(vocabulary - 1);
  assertThrows(
    () => llama2cToGguf(checkpoint(), few),
    ModelFormatError,
    "tok.bin: score of token 263 needs 4 bytes",
  );
  const many = tokenizerBin(vocabulary + 1);
  assertThrows(() => llama2cToGguf(checkpoint(), many), Error, "tok.bin: file is");
});

Deno.test("the 260K story model, converted, decodes greedily to its published text", (t) => {
  const dir = dataDir(t.name);
  if (!dir) return;
  using checkpoint = FileSource.open(join(dir, "models", "stories260K.bin"));
  using vocabulary = FileSource.open(join(dir, "models", "tok512.bin"));
  using file = GgufFile.read(llama2cToGguf(checkpoint, vocabulary));
  const tokenizer = Tokenizer.fromGguf(file.metadata);
  const ids = referenceGreedy(
    loadReferenceModel(file),
    [tokenizer.bosId!],
    200,
    tokenizer.endTokens,
  );
  assertEquals(
    tokenizer.decode(ids),
    Deno.readTextFileSync(join(dir, "models", "stories260K.greedy200.txt")),
  );
});
