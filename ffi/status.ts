import { ModelFormatError } from "../src/common/errors.ts";
import type { NativeLibrary } from "./load.ts";

/** The codes of `native/abi/src/status.rs`: the low byte of a status. */
const codes = { invalidArgument: 1, invalidHandle: 2, format: 3 } as const;

/**
 * Throws what a native call's `status` stands for; returns when it is 0.
 *
 * @throws {RangeError} for a bad argument.
 * @throws {TypeError} for an object that was disposed of.
 * @throws {ModelFormatError} for a file that breaks its format.
 * @throws {Error} for a refusal of the operating system, or a defect of the library.
 */
export function check(library: NativeLibrary, status: number): void {
  if (status === 0) return;
  const message = lastError(library, status);
  switch (status & 0xff) {
    case codes.invalidArgument:
      throw new RangeError(message);
    case codes.invalidHandle:
      throw new TypeError(message);
    case codes.format:
      throw new ModelFormatError(message);
    default:
      throw new Error(message);
  }
}

function lastError(library: NativeLibrary, status: number): string {
  const length = new Uint32Array(1);
  const text = new Uint8Array(1024);
  if (
    library.symbols.sparrow_last_error(status, text, text.length, length) !== 0 || length[0] === 0
  ) {
    return `native call failed with status ${status}`;
  }
  // A cut code point at the end decodes to one replacement character.
  return new TextDecoder().decode(text.subarray(0, Math.min(length[0], text.length)));
}
