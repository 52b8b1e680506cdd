import type { SymbolTable } from "./symbol_table.ts";

/** Exports of `native/abi/src/lut.rs`. */
export const lutSymbols = {} as const satisfies SymbolTable;
