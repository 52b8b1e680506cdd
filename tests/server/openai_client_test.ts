import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import OpenAI, { APIError, AuthenticationError, NotFoundError, RateLimitError } from "openai";
import { DeviceLostError } from "../../src/common/errors.ts";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool, type FakePoolOptions } from "../support/fake_engine_pool.ts";
import { until } from "../support/until.ts";

const messages = [{ role: "user" as const, content: "hello" }];

/** A test of OpenAI's own client against a listening server over a fake pool. */
function clientTest(
  name: string,
  fake: FakePoolOptions,
  body: (client: OpenAI, pool: FakeEnginePool) => Promise<void>,
  keys: { server: string[]; client: string } = { server: [], client: "unused" },
): void {
  Deno.test(name, async () => {
    const pool = new FakeEnginePool(fake);
    await using server = await serve({ port: 0, pool, apiKeys: keys.server });
    const client = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: keys.client,
      maxRetries: 0,
    });
    await body(client, pool);
  });
}

clientTest("openai client streams a chat completion with usage", {
  reply: () => "Good morning, sparrow 🐦.",
  tokenDelayMs: 1,
}, async (client) => {
  const stream = await client.chat.completions.create({
    model: "fake",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let reason: string | null = null;
  let tokens = 0;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    reason = chunk.choices[0]?.finish_reason ?? reason;
    tokens = chunk.usage?.completion_tokens ?? tokens;
  }
  assertEquals(text, "Good morning, sparrow 🐦.");
  assertEquals(reason, "stop");
  assertEquals(tokens, 24);
});

clientTest(
  "openai client's stream helper and unstreamed calls agree for one seed",
  {},
  async (client) => {
    const request = { model: "fake", messages, seed: 11 };
    const whole = await client.chat.completions.create(request);
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    assertEquals(streamed.choices[0].message.content, whole.choices[0].message.content);
    assertEquals(whole.usage?.total_tokens, 23 + (whole.choices[0].message.content ?? "").length);
  },
);

clientTest("openai client completes text and lists models", {
  models: ["a", "b"],
  reply: () => "xyz",
}, async (client, pool) => {
  const completion = await client.completions.create({ model: "b", prompt: [1, 2, 3] });
  assertEquals(completion.choices[0].text, "xyz");
  assertEquals(pool.requests[0].model, "b");
  const names: string[] = [];
  for await (const model of client.models.list()) names.push(model.id);
  assertEquals(names, ["a", "b"]);
  assertEquals((await client.models.retrieve("a")).owned_by, "sparrow");
});

clientTest("openai client that stops reading cancels the generation", {
  reply: () => "x".repeat(5000),
  tokenDelayMs: 2,
  contextLength: 1e6,
}, async (client, pool) => {
  const stream = await client.chat.completions.create({ model: "fake", messages, stream: true });
  let chunks = 0;
  for await (const _ of stream) {
    if (++chunks === 5) break;
  }
  await until(() => pool.cancelled === 1, "the generation is cancelled");
  assertEquals(pool.load()[0].running, 0);
});

clientTest("openai client that aborts an unstreamed call cancels the generation", {
  reply: () => "x".repeat(5000),
  tokenDelayMs: 2,
  contextLength: 1e6,
}, async (client, pool) => {
  const abort = new AbortController();
  const call = client.chat.completions.create(
    { model: "fake", messages },
    { signal: abort.signal },
  );
  await until(() => pool.load()[0].running === 1, "the generation runs");
  abort.abort();
  await assertRejects(() => call);
  await until(() => pool.cancelled === 1, "the generation is cancelled");
});

clientTest("openai client sees its own error classes", {
  maxRunning: 1,
  maxQueue: 0,
  tokenDelayMs: 5,
}, async (client, pool) => {
  await assertRejects(
    () => client.chat.completions.create({ model: "gpt-4o", messages }),
    NotFoundError,
    "served: fake",
  );
  const held = client.chat.completions.create({ model: "fake", messages });
  await until(() => pool.load()[0].running === 1, "one runs");
  await assertRejects(
    () => client.chat.completions.create({ model: "fake", messages }),
    RateLimitError,
  );
  assertEquals((await held).object, "chat.completion");
});

clientTest("openai client gets a choice for every prompt, and n of each", {
  reply: (_, prompt) => `${prompt}!`,
}, async (client) => {
  const answer = await client.completions.create({
    model: "fake",
    prompt: ["one", "two"],
    n: 2,
    max_tokens: 8,
  });
  assertEquals(answer.choices.map(({ index, text }) => [index, text]), [
    [0, "one!"],
    [1, "one!"],
    [2, "two!"],
    [3, "two!"],
  ]);
  assertEquals(answer.usage?.prompt_tokens, 6);
  const stream = await client.chat.completions.create({
    model: "fake",
    messages,
    n: 2,
    stream: true,
  });
  const texts = ["", ""];
  for await (const { choices: [choice] } of stream) {
    texts[choice.index] += choice.delta.content ?? "";
  }
  assertEquals(texts[0], texts[1]);
  assert(texts[0].endsWith("!"));
});

clientTest("openai client sees a failure in the middle of a stream", {
  failure: { afterTokens: 4, error: new DeviceLostError("the host ended") },
}, async (client) => {
  const stream = await client.chat.completions.create({ model: "fake", messages, stream: true });
  let text = "";
  let failure: unknown;
  try {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  } catch (error) {
    failure = error;
  }
  assertEquals(text.length, 4);
  assertInstanceOf(failure, APIError);
  assert(failure.message.includes("the host ended"));
});

clientTest(
  "openai client with the right key is let in",
  { reply: () => "yes" },
  async (client) => {
    const { choices } = await client.chat.completions.create({ model: "fake", messages });
    assertEquals(choices[0].message.content, "yes");
  },
  { server: ["sesame"], client: "sesame" },
);

clientTest(
  "openai client with a wrong key is told so",
  {},
  async (client) => {
    await assertRejects(() => client.models.list(), AuthenticationError);
  },
  { server: ["sesame"], client: "simsim" },
);
