import { coreSymbols } from "./core_symbols.ts";
import { decodeSymbols } from "./decode_symbols.ts";
import { grammarSymbols } from "./grammar_symbols.ts";
import { indexSymbols } from "./index_symbols.ts";
import { layerSymbols } from "./layer_symbols.ts";
import { lutSymbols } from "./lut_symbols.ts";
import { productSymbols } from "./product_symbols.ts";

/** Every export of the native library. */
export const symbols = {
  ...coreSymbols,
  ...decodeSymbols,
  ...grammarSymbols,
  ...indexSymbols,
  ...layerSymbols,
  ...lutSymbols,
  ...productSymbols,
} as const;
