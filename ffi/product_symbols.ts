import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/products.rs`. */
export const productSymbols = {
  sparrow_products_pay: {
    names: ["out"],
    parameters: ["buffer"],
    result: "i32",
  },
  sparrow_matrix_open: {
    names: ["format", "outputs", "columns", "out_handle"],
    parameters: ["u32", "u32", "u32", "buffer"],
    result: "i32",
  },
  sparrow_matrix_fill: {
    names: ["handle", "first", "codes", "codes_len", "lines", "lines_len"],
    parameters: ["u64", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_matrix_multiply: {
    names: [
      "handle",
      "rows",
      "rows_len",
      "gains",
      "gains_len",
      "width",
      "epsilon",
      "out",
      "out_len",
    ],
    parameters: ["u64", "buffer", "u32", "buffer", "u32", "u32", "f32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_matrix_gather: {
    names: ["handle", "outputs", "outputs_len", "factor", "out", "out_len"],
    parameters: ["u64", "buffer", "u32", "f32", "buffer", "u32"],
    result: "i32",
  },
  sparrow_matrix_dispose: {
    names: ["handle"],
    parameters: ["u64"],
    result: "i32",
  },
} as const satisfies SymbolTable;
