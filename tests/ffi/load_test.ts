import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { kernelsIsa } from "../../ffi/kernels_isa.ts";
import { loadNative, nativeProblem } from "../../ffi/load.ts";
import { needsNative } from "../support/needs_native.ts";

Deno.test("loadNative opens the library once and it names its instruction set", (t) => {
  if (!needsNative(t)) return;
  assertEquals(loadNative(), loadNative());
  assertEquals(nativeProblem(), undefined);
  assertMatch(kernelsIsa(), /^(avx512|avx2|neon|portable)$/);
});

/** Runs `script` in a process of its own with `SPARROW_NATIVE` set, and returns what it printed. */
async function withNative(path: string, script: string): Promise<string> {
  const load = new URL("../../ffi/load.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", `import { loadNative, nativeProblem } from ${JSON.stringify(load)};${script}`],
    env: { SPARROW_NATIVE: path, NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("loadNative without a library says where it looked, what is off and how to get it", async () => {
  const said = await withNative("/nowhere/libsparrow.so", "console.log(nativeProblem())");
  assertStringIncludes(said, "/nowhere/libsparrow.so");
  assertStringIncludes(said, "off without it");
  assertStringIncludes(said, "deno task build:native");
});

Deno.test("loadNative refuses a file that is no library, and throws the same again", async () => {
  const path = await Deno.makeTempFile({ suffix: ".so" });
  try {
    await Deno.writeTextFile(path, "not a library");
    const twice =
      "for (const _ of [1, 2]) try { loadNative() } catch (e) { console.log('refused', e.message) }";
    const said = await withNative(path, twice);
    assertEquals(said.match(/refused/g)?.length, 2, said);
    assertStringIncludes(said, "could not be opened");
  } finally {
    await Deno.remove(path);
  }
});
