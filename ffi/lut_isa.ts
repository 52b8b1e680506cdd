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

/** The number that the ABI gives a set; 255 is "the best of this machine". @throws {RangeError} for one that there is not. */
export function isaNumber(isa: LutIsa | undefined): number {
  if (isa === undefined) return 255;
  const number = lutIsas.indexOf(isa);
  if (number < 0) throw new RangeError(`isa is ${isa}, expected one of ${lutIsas.join(", ")}`);
  return number;
}

/** How a call on the CPU runs. */
export interface LutRunOptions {
  /** Default: the strongest that the machine has. */
  isa?: LutIsa;
  /** From 1 to 256. Default: one for each core, at most 256. */
  threads?: number;
  /** Where the result goes; default: a new array. */
  out?: Uint8Array<ArrayBuffer>;
}

/** Threads that the native library takes at most. */
const mostThreads = 256;

/** `options.threads`, or one for each core. @throws {RangeError} when it is no integer from 1 to 256. */
export function threadCount(options: LutRunOptions | undefined): number {
  const threads = options?.threads ?? Math.min(navigator.hardwareConcurrency, mostThreads);
  if (Number.isInteger(threads) && threads >= 1 && threads <= mostThreads) return threads;
  throw new RangeError(`threads is ${threads}, expected an integer from 1 to ${mostThreads}`);
}
