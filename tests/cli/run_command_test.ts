import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { CapacityError, DeviceLostError } from "../../src/common/errors.ts";
import { cli } from "./support.ts";

const model = new URL("../golden/models/tiny_llama_f32.gguf", import.meta.url).pathname;
const reply = () => "A bird sang.";

Deno.test("sparrow run streams text to standard output and figures to standard error", async () => {
  const pieces: string[] = [];
  const result = await cli(["run", "--model", model, "Tell", "me"], {
    fake: { reply, tokenDelayMs: 1 },
    interactive: true,
    onOut: (text) => pieces.push(text),
  });
  assertEquals(result.code, 0);
  assertEquals(result.out, "A bird sang.\n");
  assertEquals(pieces.length, 13);
  assertMatch(
    result.err,
    /^\[12 tokens, [\d.]+ tokens\/s, first token after [\d.]+ ms, prompt \d+/,
  );
  assertEquals(result.opened, [{ models: [model] }]);
  assertEquals(result.pool.requests[0].prompt, {
    type: "chat",
    messages: [{ role: "user", content: "Tell me" }],
  });
});

Deno.test("sparrow run writes one JSON line of figures off a terminal", async () => {
  const { err } = await cli(["run", "--model", model, "x"], { fake: { reply } });
  const event = JSON.parse(err);
  assertEquals(event.event, "finished");
  assertEquals(event.tokens, 12);
  assertEquals(event.reason, "stop");
});

Deno.test("sparrow run passes sampling flags, the system prompt and raw prompts on", async () => {
  const sampling = [
    "-t",
    "0",
    "--top-k",
    "5",
    "--top-p",
    "0.5",
    "--min-p",
    "0.1",
    "--seed=-2",
    "--presence-penalty",
    "0.5",
    "--frequency-penalty=-1",
  ];
  const chat = await cli(
    ["run", "--model", model, ...sampling, "-n", "3", "--stop", "z", "--system", "Be kind", "x"],
    { fake: { reply } },
  );
  assertEquals(chat.out, "A b\n");
  const [request] = chat.pool.requests;
  assertEquals(request.sampling, {
    temperature: 0,
    topK: 5,
    topP: 0.5,
    minP: 0.1,
    presencePenalty: 0.5,
    frequencyPenalty: -1,
    seed: 2 ** 32 - 2,
  });
  assertEquals(request.stop, ["z"]);
  assertEquals(request.prompt, {
    type: "chat",
    messages: [{ role: "system", content: "Be kind" }, { role: "user", content: "x" }],
  });
  const raw = await cli(["run", "--model", model, "--raw", "Once upon"], { fake: { reply } });
  assertEquals(raw.pool.requests[0].prompt, {
    type: "parts",
    parts: [{ type: "text", text: "Once upon", special: true }],
  });
});

Deno.test("sparrow run exits with the code of the failure's class", async () => {
  const codes: [Error, number][] = [
    [new DeviceLostError("the host ended"), 4],
    [new CapacityError("full"), 5],
    [new RangeError("prompt has 9 tokens, the context of 8 tokens takes at most 7"), 2],
    [new Error("odd"), 1],
  ];
  for (const [error, code] of codes) {
    const result = await cli(["run", "--model", model, "x"], {
      fake: { failure: { afterTokens: 2, error } },
    });
    assertEquals(result.code, code);
    assertStringIncludes(result.err, error.message);
  }
});

Deno.test("sparrow run refuses flags that no model takes before it opens one", async () => {
  const cases = [
    ["--top-p=3", "--top-p: expected a number from 0 to 1, got 3"],
    ["--min-p=-1", "--min-p: expected a number from 0 to 1, got -1"],
    ["--temperature=-1", "--temperature: expected a number from 0 to"],
    ["--top-k=1.5", "--top-k: expected a whole number from 0 to"],
    ["--max-tokens=1.5", "--max-tokens: expected a whole number from 0 to"],
    ["--seed=1.5", "--seed: expected a whole number, got 1.5"],
  ];
  for (const [flag, text] of cases) {
    const { code, err, opened } = await cli(["run", "--model", model, flag, "x"]);
    assertEquals(code, 2, text);
    assertStringIncludes(JSON.parse(err).message, text);
    assertEquals(opened, []);
  }
});

Deno.test("sparrow run stops at a signal with 130, after what was generated", async () => {
  let sent = false;
  const result = await cli(["run", "--model", model, "x"], {
    fake: { reply: () => "x".repeat(3000), tokenDelayMs: 2 },
    onOut: () => {
      if (!sent) Deno.kill(Deno.pid, "SIGTERM");
      sent = true;
    },
  });
  assertEquals(result.code, 130);
  assertEquals(result.pool.cancelled, 1);
  assertEquals(JSON.parse(result.err).reason, "cancelled");
});

Deno.test("sparrow run names a model file that is not there", async () => {
  const { code, err } = await cli(["run", "--model", "/nowhere.gguf", "x"]);
  assertEquals(code, 2);
  assertStringIncludes(JSON.parse(err).message, "--model /nowhere.gguf: no such file");
});

Deno.test("sparrow run constrains its text by a schema or a regular expression, and refuses bad ones", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/schema.json`;
    const run = (...flags: string[]) =>
      cli(["run", "--model", model, ...flags, "x"], { fake: { reply } });
    await Deno.writeTextFile(file, '{"type": "integer", "title": "n"}');
    const schema = { type: "integer", title: "n" };
    const [json] = (await run("--schema", file)).pool.requests;
    assertEquals(json.constraint, { kind: "json_schema", schema });
    const [regex] = (await run("--regex", "[0-9]+")).pool.requests;
    assertEquals(regex.constraint, { kind: "regex", pattern: "[0-9]+" });
    await Deno.writeTextFile(`${folder}/bad.json`, '{"not": {}}');
    await Deno.writeTextFile(`${folder}/no.json`, "{");
    for (
      const [flags, text] of [
        [["--schema", file, "--regex", "a"], "expected one of them"],
        [["--schema", `${folder}/none.json`], "none.json: no such file"],
        [["--schema", folder], "is a folder, expected a file"],
        [["--schema", `${folder}/no.json`], "no.json: "],
        [["--schema", `${folder}/bad.json`], 'keyword "not" at #'],
        [["--regex", "a\\"], "--regex: regular expression: ends in a backslash"],
      ] as const
    ) {
      const { code, err } = await run(...flags);
      assertEquals(code, 2);
      assertStringIncludes(err.replaceAll('\\"', '"'), text);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
