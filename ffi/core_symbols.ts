import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/core.rs` and `kernels.rs`. */
export const coreSymbols = {
  sparrow_abi_version: { names: [], parameters: [], result: "u32" },
  sparrow_last_error: {
    names: ["status", "text", "capacity", "out_len"],
    parameters: ["i32", "buffer", "u32", "buffer"],
    result: "i32",
  },
  sparrow_kernels_isa: {
    names: ["name", "out_len"],
    parameters: ["buffer", "buffer"],
    result: "i32",
  },
} as const satisfies SymbolTable;
