import { assertEquals } from "@std/assert";
import { GraphError } from "../../src/graph/graph_error.ts";
import { keptError } from "../../src/graph/kept_error.ts";

Deno.test("GraphError and keptError hold the beginning of a message: an exception's text may have megabytes", () => {
  const long = "x".repeat(1e6);
  const held = `${"x".repeat(4096)}…`;
  assertEquals(new GraphError("failed", long).message, held);
  assertEquals(keptError(new RangeError(long)), { kind: "RangeError", message: held });
  // What was held once stays as it is.
  assertEquals(keptError(new GraphError("failed", held)).message, held);
  assertEquals(new GraphError("failed", "short").message, "short");
});
