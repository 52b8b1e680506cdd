import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readEvents, testApp } from "../support/test_app.ts";

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

Deno.test("POST /v1/completions refuses bad prompts with the value met", async () => {
  const { post } = testApp({ reply });
  const cases: [unknown, string][] = [
    [undefined, "got nothing"],
    [["a", "b"], 'got ["a","b"]'],
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
