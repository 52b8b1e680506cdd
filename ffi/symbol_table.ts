/**
 * One exported function of the native library: Deno's own description and the C names of its parameters, in order.
 * `scripts/checks/check_ffi.ts` compares names, types and results with the Rust source.
 */
export interface NamedFunction extends Deno.ForeignFunction {
  readonly names: readonly string[];
  /** The exported name, where the table's key is another. */
  readonly name?: string;
}

/** Exported functions by symbol name. */
export type SymbolTable = Readonly<Record<string, NamedFunction>>;
