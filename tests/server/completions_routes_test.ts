import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readEvents, testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

const reply = () => "once upon a time there was";

Deno.test("POST /v1/completions continues a text with 16 tokens by default", async () => {
  const { post, pool } = testApp({ reply });
  const body = await (await post("/v1/completions", { model: "fake", prompt: "A tale:" })).json();
  assertMatch(body.id, /^cmpl-/);
  assertEquals(body.object, "text_completion");
  assertEquals(body.choices, [{
    index: 0,
    text: "once upon a time",
    logprobs: null,
    finish_reason: "length",
  }]);
  assertEquals(body.usage.prompt_tokens, 7);
  assertEquals(pool.requests[0].prompt, {
    type: "parts",
    parts: [{ type: "text", text: "A tale:", special: true }],
  });
});

Deno.test("POST /v1/completions takes tokens as they are, alone or as an array of one", async () => {
  const { post, pool } = testApp({ reply });
  for (const prompt of [[72, 105], [[72, 105]], "Hi", ["Hi"]]) {
    const body = await (await post("/v1/completions", { prompt, max_tokens: 1 })).json();
    assertEquals(body.usage.prompt_tokens, 2);
  }
  assertEquals(pool.requests[1].prompt, {
    type: "parts",
    parts: [{ type: "tokens", ids: [72, 105] }],
  });
});

Deno.test("POST /v1/completions answers several prompts by the choice of each one's index", async () => {
  const { post } = testApp({ reply: (_, prompt) => `${prompt} end` });
  for (const prompt of [["one", "three", "five"], [[111, 110], [116]]]) {
    const body = await (await post("/v1/completions", { prompt, max_tokens: 2 })).json();
    const texts = prompt.map((one) => typeof one === "string" ? one : String.fromCharCode(...one));
    assertEquals(
      body.choices,
      texts.map((text, index) => ({
        index,
        text: `${text} end`.slice(0, 2),
        logprobs: null,
        finish_reason: "length",
      })),
    );
    assertEquals(body.usage.prompt_tokens, texts.join("").length);
    assertEquals(body.usage.completion_tokens, 2 * texts.length);
  }
});

Deno.test("POST /v1/completions streams several prompts, each event with its choice, counts once", async () => {
  const { post } = testApp({ reply: (_, prompt) => `<${prompt}>` });
  const events = await readEvents(
    await post("/v1/completions", {
      prompt: ["a", "bcd"],
      stream: true,
      stream_options: { include_usage: true },
    }),
  );
  const texts = ["", ""];
  const ends: number[] = [];
  for (const { choices: [choice] } of events.slice(0, -2)) {
    texts[choice.index] += choice.text;
    if (choice.finish_reason !== null) ends.push(choice.index);
  }
  assertEquals(texts, ["<a>", "<bcd>"]);
  assertEquals(ends.toSorted(), [0, 1]);
  assertEquals(events.at(-2).choices, []);
  assertEquals(events.at(-2).usage.prompt_tokens, 4);
  assertEquals(events.at(-1), "[DONE]");
});

Deno.test("POST /v1/completions: all prompts stop when the client leaves, and when one is refused", async () => {
  const long = { reply: () => "and so on ".repeat(1000), tokenDelayMs: 1 };
  for (const stream of [false, true]) {
    const { post, pool } = testApp(long);
    const client = new AbortController();
    const body = { prompt: ["a", "b"], max_tokens: 3000, stream };
    const answer = post("/v1/completions", body, { signal: client.signal });
    await until(() => pool.load()[0].running === 2, "both run");
    if (stream) await (await answer).body?.cancel();
    else client.abort();
    await until(() => pool.load()[0].running === 0, "both stopped");
    assertEquals(pool.cancelled, 2);
    await answer;
  }
  const { post, pool } = testApp({ ...long, maxRunning: 1, maxQueue: 1 });
  const response = await post("/v1/completions", { prompt: ["a", "b", "c"], max_tokens: 3000 });
  assertEquals(response.status, 429);
  await response.body?.cancel();
  await until(() => pool.load()[0].running === 0, "those taken stopped");
  assertEquals(pool.cancelled, 2);
});

Deno.test("POST /v1/completions: the failure of one prompt ends the stream of all with one error", async () => {
  const { post, pool } = testApp({
    reply,
    failure: { afterTokens: 3, error: new Error("the GPU is gone") },
  });
  const events = await readEvents(
    await post("/v1/completions", { prompt: ["a", "b"], stream: true }),
  );
  assertEquals(events.filter((event) => event.error !== undefined).length, 1);
  assertEquals(pool.load()[0].running, 0);
});

Deno.test("POST /v1/completions refuses bad prompts with the value met", async () => {
  const { post } = testApp({ reply });
  const cases: [unknown, string][] = [
    [undefined, "got nothing"],
    [["a", 1], 'got ["a",1]'],
    [[[72], []], "got none"],
    [[[72], [1, 0x110000]], "prompt.1.1: token 1114112"],
    [Array.from({ length: 129 }, () => "x"), "1 to 128"],
    [[1, -1], "got [1,-1]"],
    [[], "got none"],
    [[1, 0x110000], "token 1114112"],
    [{ text: "x" }, "got {"],
  ];
  for (const [prompt, text] of cases) {
    const response = await post("/v1/completions", { prompt });
    assertEquals(response.status, 400);
    const { error } = await response.json();
    assertEquals(error.param, "prompt");
    assertStringIncludes(error.message, text);
  }
});

Deno.test("POST /v1/completions streams text_completion events", async () => {
  const { post } = testApp({ reply });
  const events = await readEvents(
    await post("/v1/completions", { prompt: "x", stream: true, max_tokens: 6 }),
  );
  assertEquals(events.slice(0, -2).map((e) => e.choices[0].text).join(""), "once u");
  assertEquals(events.at(-2).choices[0].finish_reason, "length");
  assertEquals(events.at(-1), "[DONE]");
});

Deno.test("POST /v1/completions reports cached prompt tokens of the same key only", async () => {
  const { post } = testApp({ reply }, { apiKeys: ["alpha", "beta"] });
  const prompt = "the long road ".repeat(20);
  const cached = async (key: string) => {
    const headers = { Authorization: `Bearer ${key}` };
    const body = await (await post("/v1/completions", { prompt }, { headers })).json();
    return body.usage.prompt_tokens_details.cached_tokens;
  };
  assertEquals(await cached("alpha"), 0);
  assertEquals(await cached("alpha"), 256);
  assertEquals(await cached("beta"), 0);
});

Deno.test("POST /v1/completions shares cached prefixes between keys when told to", async () => {
  const { post } = testApp({ reply }, { apiKeys: ["alpha", "beta"], sharePrefixes: true });
  const prompt = "the long road ".repeat(20);
  const cached = async (key: string) => {
    const headers = { Authorization: `Bearer ${key}` };
    const body = await (await post("/v1/completions", { prompt }, { headers })).json();
    return body.usage.prompt_tokens_details.cached_tokens;
  };
  assertEquals(await cached("alpha"), 0);
  assertEquals(await cached("beta"), 256);
});
