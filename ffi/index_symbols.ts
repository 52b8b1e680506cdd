import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/index.rs`. */
export const indexSymbols = {} as const satisfies SymbolTable;
