import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { ModelFormatError } from "../../src/common/errors.ts";
import type { NativeLibrary } from "../../ffi/load.ts";
import { check } from "../../ffi/status.ts";

/** A library whose every failure has this message. */
function failing(message: string): NativeLibrary {
  const bytes = new TextEncoder().encode(message);
  const symbols = {
    sparrow_last_error(
      _status: number,
      text: Uint8Array,
      capacity: number,
      length: Uint32Array,
    ): number {
      text.set(bytes.subarray(0, capacity));
      length[0] = bytes.length;
      return 0;
    },
  };
  return { symbols, close() {} } as unknown as NativeLibrary;
}

Deno.test("check lets success pass and turns each code into its class with the native text", () => {
  const library = failing("k is 0, expected at least 1");
  check(library, 0);
  assertThrows(() => check(library, 1), RangeError, "k is 0, expected at least 1");
  assertThrows(() => check(library, 2 | 7 << 8), TypeError);
  assertThrows(() => check(library, 3), ModelFormatError);
  assertThrows(() => check(library, 4), Error);
  const defect = assertThrows(() => check(library, 5));
  assertInstanceOf(defect, Error);
  assertEquals(defect.constructor, Error);
});

Deno.test("check cuts an over-long message and survives an empty one", () => {
  const long = assertThrows(() => check(failing("x".repeat(5000)), 1)) as Error;
  assertEquals(long.message.length, 1024);
  assertThrows(() => check(failing(""), 5), Error, "status 5");
});
