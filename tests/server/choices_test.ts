import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { sumUsage } from "../../src/server/choices.ts";
import { readEvents, testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

const echo = (_: unknown, prompt: string) => `${prompt.toUpperCase()}!`;
const messages = [{ role: "user", content: "good morning" }];

Deno.test("POST /v1/completions gives n choices of every prompt, each with a seed of its own", async () => {
  const { post, pool } = testApp();
  const several = { prompt: ["ab", "cd"], n: 3, seed: 0xffffffff, max_tokens: 8 };
  const body = await (await post("/v1/completions", several)).json();
  assertEquals(body.choices.map((choice: { index: number }) => choice.index), [0, 1, 2, 3, 4, 5]);
  assertEquals(pool.requests.map((each) => each.sampling.seed), [
    0xffffffff,
    0,
    1,
    0xffffffff,
    0,
    1,
  ]);
  assertEquals(new Set(pool.requests.map((each) => each.id)).size, 6);
  // A prompt counts once.
  assertEquals(body.usage.prompt_tokens, 4);
  assertEquals(body.usage.completion_tokens, 48);
  for (const [k, seed] of [0xffffffff, 0, 1].entries()) {
    const alone = await (await post("/v1/completions", { ...several, prompt: "ab", n: 1, seed }))
      .json();
    assertEquals(alone.choices[0].text, body.choices[k].text);
  }
});

Deno.test("POST /v1/chat/completions streams n choices, each with its role, text and end", async () => {
  const { post } = testApp();
  const body = { messages, n: 2, seed: 5, max_tokens: 12 };
  const whole = await (await post("/v1/chat/completions", body)).json();
  const events = await readEvents(
    await post("/v1/chat/completions", { ...body, stream: true }),
  );
  assertEquals(events.at(-1), "[DONE]");
  for (const index of [0, 1]) {
    const own = events.slice(0, -1).map((event) => event.choices[0]).filter((choice) =>
      choice.index === index
    );
    assertEquals(own[0].delta, { role: "assistant", content: "" });
    assertEquals(
      own.map((choice) => choice.delta.content ?? "").join(""),
      whole.choices[index].message.content,
    );
    assertEquals(own.at(-1).finish_reason, whole.choices[index].finish_reason);
  }
  assert(whole.choices[0].message.content !== whole.choices[1].message.content);
});

Deno.test("POST /v1/chat/completions cancels every choice when the client leaves", async () => {
  const { post, pool } = testApp({ reply: () => "x".repeat(500), tokenDelayMs: 2 });
  const stream = await post("/v1/chat/completions", { messages, n: 3, stream: true });
  const reader = stream.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await until(() => pool.cancelled === 3, "all three are cancelled");
});

Deno.test("POST /v1/completions says how many choices are too many", async () => {
  const { post } = testApp({ reply: echo });
  const response = await post("/v1/completions", { prompt: ["a", "b"], n: 65 });
  assertEquals(response.status, 400);
  const { error } = await response.json();
  assertEquals(error.param, "n");
  assertStringIncludes(error.message, "130 choices, expected at most 128");
});

Deno.test("both completion routes refuse more copies of a prompt than there is room for", async () => {
  const { post, pool } = testApp({ contextLength: 1e6 });
  const prompt = "x".repeat(2 ** 21);
  const chat = { messages: [{ role: "user", content: prompt }] };
  for (const [path, body] of [["/v1/completions", { prompt }], ["/v1/chat/completions", chat]]) {
    const response = await post(path as string, { ...body as object, n: 65 });
    assertEquals(response.status, 400);
    const { error } = await response.json();
    assertEquals(error.param, "n");
    assertStringIncludes(error.message, "expected at most 134217728");
  }
  assertEquals(pool.requests.length, 0);
});

Deno.test("sumUsage counts a prompt once and spans from the first token to the last", () => {
  const usage = (ttftMs: number, decodeMs: number, completionTokens: number) => ({
    promptTokens: 10,
    cachedTokens: 4,
    completionTokens,
    ttftMs,
    decodeMs,
  });
  assertEquals(sumUsage([usage(5, 20, 3), usage(8, 30, 4), usage(6, 1, 2), usage(0, 0, 0)], 2), {
    promptTokens: 20,
    cachedTokens: 8,
    completionTokens: 9,
    ttftMs: 5,
    decodeMs: 33,
  });
});
