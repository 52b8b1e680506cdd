import { loadNative } from "./load.ts";
import { check } from "./status.ts";

/** Instruction sets of the look-up-table kernels, weakest first; all give the same bytes. */
export const lutIsas: readonly LutIsa[] = ["scalar", "avx2", "avx2-vnni", "avx512"];

/** One of `lutIsas`. */
export type LutIsa = "scalar" | "avx2" | "avx2-vnni" | "avx512";

/** Whether this machine has `isa`. */
export function lutIsaAvailable(isa: LutIsa): boolean {
  const library = loadNative();
  const out = new Uint32Array(1);
  check(library, library.symbols.sparrow_lut_isa_available(lutIsas.indexOf(isa), out));
  return out[0] === 1;
}

/** The number that the ABI gives a set; 255 is "the best of this machine". */
export function isaNumber(isa: LutIsa | undefined): number {
  return isa === undefined ? 255 : lutIsas.indexOf(isa);
}

/** How a call on the CPU runs. */
export interface LutRunOptions {
  /** Default: the strongest that the machine has. */
  isa?: LutIsa;
  /** Default: `navigator.hardwareConcurrency`. */
  threads?: number;
  /** Where the result goes; default: a new array. */
  out?: Uint8Array<ArrayBuffer>;
}

/** `options.threads`, or one for each core. */
export function threadCount(options: LutRunOptions | undefined): number {
  return options?.threads ?? navigator.hardwareConcurrency;
}
