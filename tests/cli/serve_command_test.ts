import { assertEquals, assertStringIncludes } from "@std/assert";
import { cli } from "./support.ts";

const folder = new URL("../golden/models/", import.meta.url).pathname;
const model = `${folder}tiny_llama_f32.gguf`;

/** Runs `sparrow serve` until `whileUp` has seen the server ready, then stops it as a service manager would. */
async function serveAndStop(
  args: string[],
  whileUp: (url: string) => Promise<void>,
): Promise<{ code: number; events: Record<string, unknown>[]; opened: unknown[] }> {
  let url = "";
  let seen: Promise<void> | undefined;
  const result = await cli(["serve", "--port", "0", "--parrot-port", "0", ...args], {
    onOut: (text) => {
      const event = JSON.parse(text);
      url = event.url ?? url;
      if (event.event === "ready") {
        seen = whileUp(url).finally(() => Deno.kill(Deno.pid, "SIGTERM"));
      }
    },
  });
  await seen;
  const events = result.out.trim().split("\n").map((line) => JSON.parse(line));
  return { code: result.code, events, opened: result.opened };
}

Deno.test("sparrow serve prints the chosen port, answers, and drains at SIGTERM", async () => {
  const { code, events, opened } = await serveAndStop(
    ["--model", model, "--max-queue", "9", "--no-install"],
    async (url) => {
      const response = await fetch(`${url}/v1/models`);
      assertEquals((await response.json()).data[0].id, "fake");
    },
  );
  assertEquals(code, 0);
  assertEquals(opened, [{ models: [model], maxQueue: 9 }]);
  assertEquals(events.map((e) => e.event), [
    "listening",
    "loading",
    "ready",
    "stopping",
    "stopped",
  ]);
  assertEquals(typeof events[0].port, "number");
  assertEquals(events[1].models, ["tiny_llama_f32"]);
});

Deno.test("sparrow serve hands on the sizes that are asked for", async () => {
  const sizes = ["--context", "8192", "--kv-memory", "1.5", "--max-sequences", "4"];
  const { opened } = await serveAndStop(
    [
      "--model",
      model,
      ...sizes,
      "--batch-tokens",
      "2048",
      "--retrieval-graph",
      "--activations",
      "int8",
    ],
    async () => {},
  );
  assertEquals((opened as { sizes: unknown }[])[0].sizes, {
    contextLength: 8192,
    maxKvBytes: 1.5 * 2 ** 30,
    maxSequences: 4,
    maxBatchTokens: 2048,
    activations: "int8",
    retrieval: { fixed: true },
  });
});

Deno.test("sparrow serve --models serves every model file of a folder, named ones first", async () => {
  const first = `${folder}tiny_llama_q8_0.gguf`;
  const { opened } = await serveAndStop(["--model", first, "--models", folder], async () => {});
  const [{ models }] = opened as { models: string[] }[];
  assertEquals(models[0], first);
  const files = [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".gguf"));
  assertEquals(models.length, files.length);
  assertEquals(models.slice(1).every((file) => file.endsWith(".gguf") && file !== first), true);
});

Deno.test("sparrow serve asks for a key when other machines can reach it", async () => {
  const refused = await cli(["serve", "--model", model, "--port", "0", "--host", "0.0.0.0"]);
  assertEquals(refused.code, 2);
  assertStringIncludes(JSON.parse(refused.err).message, "API key");
  const { events } = await serveAndStop(
    ["--model", model, "--host", "0.0.0.0", "--api-key", "sesame"],
    async (url) => {
      const address = url.replace("0.0.0.0", "127.0.0.1");
      const plain = await fetch(`${address}/v1/models`);
      assertEquals(plain.status, 401);
      await plain.body?.cancel();
      const keyed = await fetch(`${address}/v1/models`, {
        headers: { Authorization: "Bearer sesame" },
      });
      assertEquals(keyed.status, 200);
      await keyed.body?.cancel();
    },
  );
  assertEquals(events[0].key, true);
});

Deno.test("sparrow serve takes the keys of several clients from SPARROW_API_KEY", async () => {
  Deno.env.set("SPARROW_API_KEY", "first-key second-key\n");
  try {
    await serveAndStop(["--model", model], async (url) => {
      for (const [key, status] of [["first-key", 200], ["second-key", 200], ["second", 401]]) {
        const headers = { Authorization: `Bearer ${key}` };
        const response = await fetch(`${url}/v1/models`, { headers });
        assertEquals(response.status, status);
        await response.body?.cancel();
      }
    });
  } finally {
    Deno.env.delete("SPARROW_API_KEY");
  }
});

Deno.test("sparrow serve refuses bad values and stray words before it opens anything", async () => {
  const cases: [string[], string][] = [
    [
      ["--model", model, "--port", "70000"],
      "--port: expected a whole number from 0 to 65535, got 70000",
    ],
    [["--model", model, "--port", "1.5"], "got 1.5"],
    [["extra"], 'unexpected "extra"'],
    [["--model", model, "--parrot-port=-1"], "--parrot-port: expected a whole number"],
    [["--model", model, "--context", "10"], "--context: expected a whole number from 64 to"],
    [["--model", model, "--kv-memory", "0"], "--kv-memory: expected GiB above 0, at most 1024"],
    [["--model", model, "--activations", "int4"], "--activations: expected f32 or int8, got int4"],
    [["--model", model, "--batch-tokens", "70000"], "--batch-tokens: expected a whole number"],
    [["--model", model, "--max-body-mb", "0"], "--max-body-mb: expected a number from 0.001 to"],
    [["--model", model, "--drain=-1"], "--drain: expected a number from 0 to"],
    [["--model", model, "--cors", "example.com"], 'corsOrigins: "example.com", expected an origin'],
    [["--model", model, "--cors", "http://localhost:3000/"], "expected an origin such as"],
    [
      ["--model", model, "--allow-host", "gpu.lan:80"],
      'allowedHosts: "gpu.lan:80", expected a name',
    ],
    [["--model", model, "--allow-host", "GPU.lan"], "in small letters and without a port"],
    [["--model", model, "--api-key", "a b"], "characters that no header carries"],
    [
      ["--model", model, "--allow-native-calls", "--python", "/nowhere/python"],
      "python: /nowhere/python: ",
    ],
    [["--models", "/nowhere"], "--models /nowhere: no such folder"],
    [["--models", model], `--models ${model}: is a file, expected a folder`],
    [["--model", folder], `--model ${folder}: is a folder, expected a file`],
    [["--model", model, "--model", model], 'called "tiny_llama_f32"'],
  ];
  for (const [args, text] of cases) {
    const { code, err, opened } = await cli(["serve", ...args]);
    assertEquals(code, 2, text);
    assertStringIncludes(JSON.parse(err).message, text);
    assertEquals(opened, []);
  }
});

Deno.test("sparrow serve takes sizes that do not fit for wrong usage", async () => {
  const error = new RangeError("plan KV memory: contextLength is 9, the KV memory holds 5 tokens");
  const args = ["serve", "--port", "0", "--parrot-port", "0", "--model", model];
  const { code, err } = await cli(args, { fake: { opening: error } });
  assertEquals(code, 2);
  assertStringIncludes(JSON.parse(err).message, `${error.message} (--context and --kv-memory`);
});
