import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import * as errors from "../../src/common/errors.ts";
import { fromErrorWire, toErrorWire } from "../../src/engine/error_wire.ts";

Deno.test("error_wire carries every class of the project, and the built-in ones, with message and retry time", () => {
  for (
    const known of [
      ...Object.values(errors),
      TypeError,
      RangeError,
      SyntaxError,
      Deno.errors.NotFound,
    ]
  ) {
    const there = fromErrorWire(JSON.parse(JSON.stringify(toErrorWire(new known("what, where")))));
    assertInstanceOf(there, known);
    assertEquals(there.message, "what, where");
  }
  const capacity = fromErrorWire(toErrorWire(new errors.CapacityError("full", 7)));
  assert(capacity instanceof errors.CapacityError && capacity.retryAfterSeconds === 7);
});

Deno.test("error_wire makes a plain Error of anything it does not know", () => {
  const other = fromErrorWire(toErrorWire(new DOMException("gone", "AbortError")));
  assertEquals([other.constructor, other.message], [Error, "gone"]);
  assertEquals(fromErrorWire(toErrorWire("text")).message, "text");
  assertEquals(fromErrorWire({ name: "constructor", message: "x" }).constructor, Error);
});
