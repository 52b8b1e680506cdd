import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/prefill.rs`. */
export const prefillSymbols = {
  sparrow_prefill_open: {
    names: [
      "heads",
      "kv_heads",
      "dim",
      "window",
      "position",
      "queries",
      "queries_len",
      "out_handle",
    ],
    parameters: ["u32", "u32", "u32", "u32", "u32", "buffer", "u32", "buffer"],
    result: "i32",
  },
  sparrow_prefill_attend: {
    names: ["handle", "first", "keys", "keys_len", "values", "values_len"],
    parameters: ["u64", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_prefill_finish: {
    names: ["handle", "kept", "stride", "out", "out_len"],
    parameters: ["u64", "u32", "u32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_prefill_dispose: {
    names: ["handle"],
    parameters: ["u64"],
    result: "i32",
  },
} as const satisfies SymbolTable;
