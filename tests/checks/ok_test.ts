import { assertEquals } from "@std/assert";
import { main } from "../../scripts/checks/ok.ts";

Deno.test("deno task ok refuses a check that there is not, before any runs", async () => {
  assertEquals(await main(["words", "imprts"]), 2);
  assertEquals(await main(["ffi"]), 0);
});
