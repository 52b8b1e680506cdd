import { GgufMetadata, type GgufValue } from "../../src/formats/gguf_metadata.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

/** tests/golden/tokenizers/bpe.json. */
export interface BpeGolden {
  tokens: string[];
  merges: string[];
  texts: string[];
  ids: Record<string, number[][]>;
}

/** tests/golden/tokenizers/spm.json. */
export interface SpmGolden {
  tokens: string[];
  scores: number[];
  types: number[];
  texts: string[];
  ids: number[][];
  decoded: string[];
}

function load(name: string): unknown {
  return JSON.parse(
    Deno.readTextFileSync(new URL(`../golden/tokenizers/${name}.json`, import.meta.url)),
  );
}

export const bpeGolden = load("bpe") as BpeGolden;
export const spmGolden = load("spm") as SpmGolden;

/** Control tokens added behind the golden BPE vocabulary, and one user-defined. */
export const addedTokens = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<|user|>"] as const;

type Extra = Record<string, GgufValue>;

/** Metadata of the golden byte-level BPE vocabulary, with {@linkcode addedTokens}. */
export function bpeMetadata(extra: Extra = {}): GgufMetadata {
  const tokens = [...bpeGolden.tokens, ...addedTokens];
  const types = new Int32Array(tokens.length).fill(1);
  types.fill(3, bpeGolden.tokens.length);
  types[tokens.length - 1] = 4;
  return new GgufMetadata({
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.merges": bpeGolden.merges,
    "tokenizer.ggml.bos_token_id": bpeGolden.tokens.length,
    "tokenizer.ggml.eos_token_id": bpeGolden.tokens.length + 2,
    ...extra,
  }, "test.gguf");
}

/** Metadata of the golden SentencePiece vocabulary. */
export function spmMetadata(extra: Extra = {}): GgufMetadata {
  return new GgufMetadata({
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": spmGolden.tokens,
    "tokenizer.ggml.scores": Float32Array.from(spmGolden.scores),
    "tokenizer.ggml.token_type": Int32Array.from(spmGolden.types),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    ...extra,
  }, "test.gguf");
}

export function bpeTokenizer(extra: Extra = {}): Tokenizer {
  return Tokenizer.fromGguf(bpeMetadata(extra));
}

export function spmTokenizer(extra: Extra = {}): Tokenizer {
  return Tokenizer.fromGguf(spmMetadata(extra));
}
