import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { commands } from "../../src/cli/commands.ts";
import { cli } from "./support.ts";

const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;

Deno.test("sparrow --help lists every command", async () => {
  for (const args of [[], ["--help"], ["-h"], ["help"]]) {
    const { code, out } = await cli(args);
    assertEquals(code, 0);
    for (const { name, summary } of commands) {
      assertStringIncludes(out, name);
      assertStringIncludes(out, summary);
    }
  }
});

Deno.test("sparrow COMMAND --help shows usage and every flag", async () => {
  for (const entry of commands) {
    const command = await entry.load();
    if (command.passThrough) continue;
    const { code, out } = await cli([entry.name, "--help"]);
    assertEquals(code, 0);
    assertStringIncludes(out, `Usage: sparrow ${entry.name}`);
    for (const flag of command.flags) assertStringIncludes(out, `--${flag.name}`);
  }
});

Deno.test("sparrow --version prints the version", async () => {
  assertMatch((await cli(["--version"])).out, /^sparrow \d+\.\d+\.\d+\n$/);
});

Deno.test({
  name: "sparrow inspect exits with 3 for what is no file",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const { code, err } = await cli(["inspect", "/dev/null"]);
    assertEquals([code, JSON.parse(err).message], [3, "/dev/null: it is no regular file"]);
  },
});

Deno.test("sparrow with wrong usage exits with 2 and a hint, as text or as one JSON line", async () => {
  const text = await cli(["serv"], { interactive: true });
  assertEquals(text.code, 2);
  assertStringIncludes(text.err, 'unknown command "serv"; did you mean serve?');
  assertStringIncludes(text.err, "--help");
  const json = await cli(["run", "--temprature", "1"]);
  assertEquals(json.code, 2);
  const event = JSON.parse(json.err);
  assertEquals(event.event, "error");
  assertStringIncludes(event.message, "did you mean --temperature?");
});

Deno.test("sparrow inspect shows metadata and tensors of a model file", async () => {
  const file = new URL("../golden/models/tiny_llama_f32.gguf", import.meta.url).pathname;
  const { code, out } = await cli(["inspect", file, "--tensors"]);
  assertEquals(code, 0);
  assertMatch(out, /120,000 parameters in 21 tensors, 468\.8 KiB/);
  assertMatch(out, /llama\.block_count +2\n/);
  assertMatch(out, /token_embd\.weight +F32 \[64, 263\]/);
  const json = JSON.parse((await cli(["inspect", file, "--json"])).out);
  assertEquals(json.version, 3);
  assertEquals(json.metadata["llama.vocab_size"], 263);
  assertEquals(json.tensors.length, 21);
});

Deno.test("sparrow inspect exits with 3 for what is no model file", async () => {
  const file = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    await Deno.writeTextFile(file, "this is not a model");
    const { code, err } = await cli(["inspect", file]);
    assertEquals(code, 3);
    assertStringIncludes(JSON.parse(err).message, "magic");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("sparrow inspect says that a file is not there", async () => {
  const { code, err } = await cli(["inspect", "/nowhere/model.gguf"]);
  assert(code > 0);
  assertStringIncludes(JSON.parse(err).message, "/nowhere/model.gguf");
});

Deno.test("sparrow ends in silence when nobody reads its output any more", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "inspect", "--json", "models/sparrow-mini.gguf"],
    cwd: new URL("../..", import.meta.url),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await child.stdout.cancel();
  const { code } = await child.status;
  assertEquals([code, await new Response(child.stderr).text()], [141, ""]);
});
