import { assertEquals, assertNotEquals } from "@std/assert";
import { fingerprint } from "../../scripts/setup/fingerprint.ts";

Deno.test("fingerprint changes with a file's content, with a new file and with a text, and skips what it is told", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/a`, "one");
    const first = await fingerprint(["x"], [folder]);
    assertEquals(await fingerprint(["x"], [folder]), first);
    assertNotEquals(await fingerprint(["y"], [folder]), first);
    await Deno.writeTextFile(`${folder}/a`, "three");
    const second = await fingerprint(["x"], [folder]);
    assertNotEquals(second, first);
    await Deno.writeTextFile(`${folder}/b`, "");
    assertNotEquals(await fingerprint(["x"], [folder]), second);
    assertEquals(await fingerprint(["x"], [folder], [`${folder}/b`]), second);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
