import { coreSymbols } from "./core_symbols.ts";
import { indexSymbols } from "./index_symbols.ts";
import { lutSymbols } from "./lut_symbols.ts";

/** Every export of the native library. */
export const symbols = { ...coreSymbols, ...indexSymbols, ...lutSymbols } as const;
