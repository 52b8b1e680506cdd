import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/decode.rs`. */
export const decodeSymbols = {
  sparrow_context_open: {
    names: ["layers", "kv_heads", "query_heads", "dim", "stride", "scale", "seed", "out_handle"],
    parameters: ["u32", "u32", "u32", "u32", "u32", "f32", "u32", "buffer"],
    result: "i32",
  },
  sparrow_context_append: {
    names: ["handle", "layer", "keys", "keys_len", "values", "values_len"],
    parameters: ["u64", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_context_sample: {
    names: ["handle", "layer", "queries", "queries_len"],
    parameters: ["u64", "u32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_context_build: {
    names: ["handle", "layer", "target", "fixed"],
    parameters: ["u64", "u32", "f32", "u32"],
    result: "i32",
    nonblocking: true,
  },
  sparrow_context_build_now: {
    name: "sparrow_context_build",
    names: ["handle", "layer", "target", "fixed"],
    parameters: ["u64", "u32", "f32", "u32"],
    result: "i32",
  },
  sparrow_context_attend: {
    names: [
      "handles",
      "rows",
      "layer",
      "queries",
      "queries_len",
      "budget_kinds",
      "budgets",
      "want_bound",
      "output",
      "lse",
      "lse_len",
      "reports",
      "reports_len",
    ],
    parameters: [
      "buffer",
      "u32",
      "u32",
      "buffer",
      "u32",
      "buffer",
      "buffer",
      "u32",
      "buffer",
      "buffer",
      "u32",
      "buffer",
      "u32",
    ],
    result: "i32",
  },
  sparrow_context_bytes: {
    names: ["handle", "out"],
    parameters: ["u64", "buffer"],
    result: "i32",
  },
  sparrow_context_dispose: {
    names: ["handle"],
    parameters: ["u64"],
    result: "i32",
  },
} as const satisfies SymbolTable;
