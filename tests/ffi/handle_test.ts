import { assertEquals, assertThrows } from "@std/assert";
import { Handle } from "../../ffi/handle.ts";

Deno.test("Handle releases once, and refuses use after disposal", () => {
  const released: bigint[] = [];
  const handle = new Handle({}, "index", 7n, (id) => released.push(id));
  assertEquals(handle.id, 7n);
  handle.dispose();
  handle.dispose();
  assertEquals(released, [7n]);
  assertThrows(() => handle.id, TypeError, "This index was disposed of");
});

Deno.test("Handle is released when its owner is collected", async () => {
  // A process of its own, because the collector has to be callable.
  const module = new URL("../../ffi/handle.ts", import.meta.url).href;
  const script = `import { Handle } from ${JSON.stringify(module)};
    (() => { const owner = {}; owner.handle = new Handle(owner, "thing", 3n, (id) => { console.log("released", id); Deno.exit(0) }) })();
    for (let i = 0; i < 200; i++) { gc(); await new Promise((r) => setTimeout(r, 10)) }
    console.log("kept");`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--v8-flags=--expose-gc", script],
  }).output();
  assertEquals(new TextDecoder().decode(stdout).trim(), "released 3n");
});
