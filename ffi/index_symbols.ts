import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/index.rs`. */
export const indexSymbols = {
  sparrow_index_build: {
    names: [
      "keys",
      "keys_len",
      "queries",
      "queries_len",
      "dim",
      "seed",
      "cluster_size",
      "max_queries",
      "recall",
      "k",
      "strategies_mask",
      "out_handle",
    ],
    parameters: [
      "buffer",
      "u32",
      "buffer",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "f32",
      "u32",
      "u32",
      "buffer",
    ],
    result: "i32",
  },
  sparrow_index_open: {
    names: ["path", "path_len", "out_handle"],
    parameters: ["buffer", "u32", "buffer"],
    result: "i32",
  },
  sparrow_index_save: {
    names: ["handle", "path", "path_len"],
    parameters: ["u64", "buffer", "u32"],
    result: "i32",
  },
  sparrow_index_append: {
    names: ["handle", "keys", "keys_len"],
    parameters: ["u64", "buffer", "u32"],
    result: "i32",
  },
  sparrow_index_search: {
    names: [
      "handle",
      "queries",
      "queries_len",
      "k",
      "effort",
      "ids",
      "scores",
      "hits_len",
      "scanned",
      "scanned_len",
    ],
    parameters: ["u64", "buffer", "u32", "u32", "u32", "buffer", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_index_info: { names: ["handle", "out"], parameters: ["u64", "buffer"], result: "i32" },
  sparrow_index_dispose: { names: ["handle"], parameters: ["u64"], result: "i32" },
} as const satisfies SymbolTable;
