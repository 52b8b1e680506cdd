import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/grammar.rs`. */
export const grammarSymbols = {
  sparrow_vocabulary_open: {
    names: [
      "bytes",
      "bytes_len",
      "lengths",
      "lengths_len",
      "end_tokens",
      "end_tokens_len",
      "out_handle",
    ],
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  sparrow_vocabulary_dispose: {
    names: ["handle"],
    parameters: ["u64"],
    result: "i32",
  },
  sparrow_grammar_compile: {
    names: ["vocabulary", "kind", "text", "text_len", "out_handle"],
    parameters: ["u64", "u32", "buffer", "u32", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  sparrow_grammar_dispose: {
    names: ["handle"],
    parameters: ["u64"],
    result: "i32",
  },
  sparrow_matcher_open: {
    names: ["grammar", "out_handle"],
    parameters: ["u64", "buffer"],
    result: "i32",
  },
  sparrow_matcher_accept: {
    names: ["handle", "token", "out_state"],
    parameters: ["u64", "u32", "buffer"],
    result: "i32",
  },
  sparrow_matcher_mask: {
    names: ["handle", "mask", "mask_len", "out_may_end"],
    parameters: ["u64", "buffer", "u32", "buffer"],
    result: "i32",
  },
  sparrow_matcher_dispose: {
    names: ["handle"],
    parameters: ["u64"],
    result: "i32",
  },
} as const satisfies SymbolTable;
