import { assertEquals } from "@std/assert";

Deno.test("a host process ends when its input does", async () => {
  const entry = new URL("../../src/engine/host_main.ts", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", entry.href],
    stdin: "piped",
    stdout: "null",
  }).spawn();
  await child.stdin.close();
  assertEquals((await child.status).code, 0);
});
