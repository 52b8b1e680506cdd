import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { GenerationStream } from "../../src/engine/generation_stream.ts";
import { noUsage } from "../../src/engine/no_usage.ts";
import { BackgroundResponses } from "../../src/server/background_responses.ts";
import type { ResponseShape } from "../../src/server/response_shape.ts";
import { ResponseStore } from "../../src/server/response_store.ts";
import { responseTools as tools, writtenCall as call } from "../support/response_tools.ts";
import { testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

const path = "/v1/responses";

Deno.test("what a response was made of is listed, by pages, those before it first", async () => {
  const { post, get } = testApp({ reply: () => `Wait.\n${call}` });
  const ask = async (body: Record<string, unknown>) => await (await post(path, body)).json();
  const first = await ask({ input: "Time?", tools, instructions: "Once." });
  const [message, item] = first.output;
  const result = { type: "function_call_output", call_id: item.call_id, output: "noon" };
  const input = [result, { role: "assistant", content: "Noon." }, { type: "reasoning" }];
  const second = await ask({ input, previous_response_id: first.id });
  const list = async (query = "", id = second.id) =>
    await (await get(`${path}/${id}/input_items${query}`)).json();
  const { object, data, first_id, last_id, has_more } = await list("?order=asc");
  const [asked, , , told, spoken] = data;
  assertEquals([object, has_more, first_id, last_id], ["list", false, asked.id, spoken.id]);
  assert(/^msg_\w{24}$/.test(asked.id) && /^fco_\w{24}$/.test(told.id));
  const status = "completed";
  assertEquals(data, [
    {
      type: "message",
      id: asked.id,
      status,
      role: "user",
      content: [{ type: "input_text", text: "Time?" }],
    },
    message,
    item,
    { ...result, id: told.id, status },
    {
      type: "message",
      id: spoken.id,
      status,
      role: "assistant",
      content: [{ type: "output_text", text: "Noon.", annotations: [] }],
    },
  ]);
  assertEquals((await list()).data, data.toReversed());
  assertEquals((await list("", first.id)).data, [asked]);
  const page = await list(`?limit=2&after=${spoken.id}`);
  assertEquals([page.data, page.has_more], [[told, item], true]);
  const end = await list(`?limit=2&after=${message.id}`);
  assertEquals([end.data, end.has_more], [[asked], false]);
  // An item of a conversation is referred to as one of an answer is.
  assertEquals((await post(path, { input: [{ id: asked.id }] })).status, 200);
  for (
    const [query, param] of [["limit=0", "limit"], ["order=up", "order"], ["after=x", "after"]]
  ) {
    const response = await get(`${path}/${second.id}/input_items?${query}`);
    assertEquals([response.status, (await response.json()).error.param], [400, param]);
  }
  assertEquals((await get(`${path}/resp_none/input_items`)).status, 404);
});

Deno.test("a response in the background is queued, read until it ends, and cancelled", async () => {
  const { post, get, app, pool } = testApp({
    reply: ({ maxTokens }) => "x".repeat(maxTokens ?? 5),
    tokenDelayMs: 2,
    maxRunning: 1,
  });
  const read = async (id: string) => await (await get(`${path}/${id}`)).json();
  const ask = async (fields: Record<string, unknown>) =>
    await (await post(path, { input: "x", background: true, ...fields })).json();
  const [long, short] = [await ask({ max_output_tokens: 3_000 }), await ask({})];
  assertEquals([long.status, long.background, long.output, long.usage], ["queued", true, [], null]);
  await until(async () => (await read(long.id)).output.length > 0, "there is some of it");
  assertEquals([(await read(long.id)).status, (await read(short.id)).status], [
    "in_progress",
    "queued",
  ]);
  assertEquals((await (await get(`${path}/${long.id}/input_items`)).json()).data.length, 1);
  const early = await post(path, { input: "y", previous_response_id: long.id });
  assertStringIncludes((await early.json()).error.message, "is in_progress, expected");

  const cancelled = await (await post(`${path}/${long.id}/cancel`, {})).json();
  assertEquals([cancelled.status, cancelled.output[0].status], ["cancelled", "incomplete"]);
  assert(cancelled.output[0].content[0].text.startsWith("x"));
  await until(() => pool.cancelled === 1, "the engine stops");
  await until(async () => (await read(short.id)).status === "completed", "the other goes on");
  // Whatever comes of the engine afterwards changes nothing, nor does another cancel.
  for (const { id } of [cancelled, short]) {
    const before = await read(id);
    assertEquals(await (await post(`${path}/${id}/cancel`, {})).json(), before);
  }
  assertEquals(await read(long.id), cancelled);
  assertEquals((await read(short.id)).usage.output_tokens, 5);
  assertEquals((await post(path, { input: "y", previous_response_id: short.id })).status, 200);

  const deleted = await ask({ max_output_tokens: 3_000 });
  await app.fetch(new Request(`http://localhost${path}/${deleted.id}`, { method: "DELETE" }));
  await until(() => pool.cancelled === 2, "what is deleted stops");
  assertEquals((await get(`${path}/${deleted.id}`)).status, 404);

  const { id } = await (await post(path, { input: "x" })).json();
  const synchronous = await post(`${path}/${id}/cancel`, {});
  assertEquals([synchronous.status, (await synchronous.json()).error.code], [
    400,
    "response_not_in_background",
  ]);
  assertEquals((await post(`${path}/resp_none/cancel`, {})).status, 404);
});

Deno.test("a response in the background that fails says why, and is its own key's, which may have some", async () => {
  const failing = testApp({ failure: { afterTokens: 2, error: new Error("secret") } });
  const body = { input: "x", background: true };
  const { id } = await (await failing.post(path, body)).json();
  // deno-lint-ignore no-explicit-any -- a response
  let failed: any;
  await until(async () => {
    failed = await (await failing.get(`${path}/${id}`)).json();
    return failed.status === "failed";
  }, "it fails");
  assertEquals([failed.error.code, failed.output[0].status], ["internal", "incomplete"]);
  assert(!JSON.stringify(failed).includes("secret"));

  const keys = ["first-key-of-16-characters", "second-key-of-16-characters"];
  const { post, get, pool } = testApp({ tokenDelayMs: 1_000, maxQueue: 100 }, { apiKeys: keys });
  const [mine, theirs] = keys.map((key) => ({ headers: { Authorization: `Bearer ${key}` } }));
  const all = [];
  for (let i = 0; i < 64; i++) all.push(await (await post(path, body, mine)).json());
  assertEquals((await get(`${path}/${all[0].id}`, theirs.headers)).status, 404);
  assertEquals((await post(`${path}/${all[0].id}/cancel`, {}, theirs)).status, 404);
  const [over, other] = [await post(path, body, mine), await post(path, body, theirs)];
  assertEquals([over.status, other.status], [429, 200]);
  assertEquals((await over.json()).error.code, "too_many_background_responses");
  await pool[Symbol.asyncDispose]();
});

Deno.test("a response that is deleted in the background takes no room from those that are stored", async () => {
  const answer = (id: string) => ({
    id,
    object: "response" as const,
    created_at: 0,
    status: "in_progress" as const,
    error: null,
    incomplete_details: null,
    model: "fake",
    output: [],
    usage: null,
  });
  const kept = { response: answer("kept"), input: [] };
  const store = new ResponseStore(JSON.stringify(Object.values(kept)).length + 10);
  store.put("", kept);
  const background = new BackgroundResponses(store);
  const generation = new GenerationStream("x", () => {
    generation.event({ type: "finished", reason: "cancelled", usage: noUsage });
  });
  const shape = { now: () => answer("gone") } as unknown as ResponseShape;
  background.start("gone", { tenant: "", input: [], shape, generation });
  background.forget("other", "gone");
  assert(background.get("", "gone"));
  background.forget("", "gone");
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(background.get("", "gone"), undefined);
  assertEquals(store.get("", "gone"), undefined);
  assert(store.get("", "kept"));
});
